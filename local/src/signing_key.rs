//! The key of development tokens, and the file that keeps it, so that tokens outlive the gateway.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey};
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};

/// The id of an issuer's only key.
pub(crate) const KEY_ID: &str = "development";
/// The algorithm of signatures. API Gateway's JWT authorizers take RS256, RS384 and RS512 only.
pub(crate) const ALGORITHM: Algorithm = Algorithm::RS256;
/// The size of a key, in bits: the least that RS256 allows.
const KEY_BITS: usize = 2048;

/// The key of this process.
static KEY: LazyLock<SigningKey> = LazyLock::new(SigningKey::generate);

/// A key that signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    private: EncodingKey,
    public: Jwk,
}

impl SigningKey {
    /// A new key. It takes a fifth of a second.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[expect(clippy::panic, reason = "a gateway without a key cannot serve, and no input leads to this")]
    pub fn generate() -> Self {
        let made = generate_der().and_then(|der| Self::from_der(&der));
        made.unwrap_or_else(|error| panic!("no key for tokens: {error}"))
    }

    /// The key that all issuers of this process share that have none of their own.
    pub fn of_process() -> Self {
        KEY.clone()
    }

    /// The key that the file keeps. Without a file, makes both; only the file's owner can read it.
    ///
    /// # Errors
    /// One line, when the file cannot be made, cannot be read, or has no key.
    pub fn kept_in(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        if !path.exists() {
            create(path).map_err(|error| format!("cannot keep the key of tokens in {shown}: {error}"))?;
        }
        let der =
            fs::read(path).map_err(|error| format!("cannot read the key of tokens in {shown}: {error}"))?;
        Self::from_der(&der)
            .map_err(|_| format!("{shown} has no key of tokens; delete it, and the next start makes another"))
    }

    pub(crate) fn private(&self) -> &EncodingKey {
        &self.private
    }

    pub(crate) fn public(&self) -> &Jwk {
        &self.public
    }

    /// The key with this PKCS #1 encoding.
    fn from_der(der: &[u8]) -> Result<Self, Box<dyn std::error::Error>> {
        RsaPrivateKey::from_pkcs1_der(der)?;
        let private = EncodingKey::from_rsa_der(der);
        let mut public = Jwk::from_encoding_key(&private, ALGORITHM)?;
        public.common.key_id = Some(KEY_ID.to_owned());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { private, public })
    }
}

/// The file beside a database that keeps the key of its gateway.
pub fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-key");
    name.into()
}

/// The file in the user's cache folder that keeps the key of gateways without a database file. `None` when the environment
/// names no such folder.
pub fn in_cache(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = |below: &str| folder("HOME").map(|home| home.join(below));
    let usual = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home("Library/Caches")
    } else {
        home(".cache")
    };
    let cache = folder("XDG_CACHE_HOME").or(usual)?;
    Some(cache.join("activity-log").join("signing-key"))
}

fn generate_der() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS)?;
    Ok(key.to_pkcs1_der()?.as_bytes().to_vec())
}

/// Makes the file with a new key, unless another process makes it first. The file never exists in part.
fn create(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let folder = path.parent().ok_or("it has no folder")?;
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".{}", uuid::Uuid::new_v4()));
    let made = write_private(&draft, &generate_der()?).and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft).ok();
    match made {
        Err(_) if path.exists() => Ok(()),
        made => Ok(made?),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_folder_follows_the_environment() {
        let with = |variables: &'static [(&str, &str)]| {
            in_cache(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        let file = "activity-log/signing-key";
        assert_eq!(with(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some(Path::new("/c").join(file)));
        assert_eq!(with(&[]), None);
        // The specification of these variables has relative paths ignored.
        assert_eq!(with(&[("XDG_CACHE_HOME", "c")]), None);
        if cfg!(target_os = "linux") {
            assert_eq!(
                with(&[("XDG_CACHE_HOME", ""), ("HOME", "/h")]),
                Some(Path::new("/h/.cache").join(file))
            );
        }
    }
}
