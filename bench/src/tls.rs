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

/// The files of trusted certificates of Linux distributions. The first that exists is used.
const TRUSTED: &[&str] = &["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

/// The endpoint, which serves as long as the program runs.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// The file of the certificates that a client must trust. It has the machine's too, so that reading it takes as
    /// long as elsewhere.
    pub(crate) trust: PathBuf,
    /// The number of those certificates.
    pub(crate) trusted: usize,
}

impl Endpoint {
    /// Starts an endpoint that forwards to the address `engine`.
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
