//! A TLS endpoint on the loopback interface, in front of the embedded engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Result;

/// Where Linux distributions keep the certificates they trust; the first that is there counts.
const TRUSTED: &[&str] = &["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

/// The endpoint; it serves as long as the program runs.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// The certificates a client must trust: the machine's and ours, so that reading them takes as long as it
    /// would anywhere.
    pub(crate) trust: PathBuf,
    /// How many there are.
    pub(crate) trusted: usize,
}

impl Endpoint {
    /// Passes on to `engine`, an address, what arrives.
    pub(crate) async fn start(engine: &str, directory: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &authority)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        let mut pem = TRUSTED.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        pem.push_str(&authority.pem());
        let trust = directory.join("trust.pem");
        std::fs::write(&trust, &pem)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), engine.to_owned()));
        Ok(Self { url, trust, trusted: pem.matches("BEGIN CERTIFICATE").count() })
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, engine: String) {
    while let Ok((plain, _)) = listener.accept().await {
        let (acceptor, engine) = (acceptor.clone(), engine.clone());
        tokio::spawn(async move {
            plain.set_nodelay(true)?;
            let mut client = acceptor.accept(plain).await?;
            let mut server = TcpStream::connect(engine).await?;
            server.set_nodelay(true)?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}
