//! The signals that stop the program.

use tokio::sync::mpsc;

/// Receives a message for each Ctrl-C and each SIGTERM from now on.
///
/// # Errors
/// One line, when the system refuses.
pub(crate) fn receive() -> Result<mpsc::Receiver<()>, String> {
    let (sender, receiver) = mpsc::channel(1);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let mut signal = signal(kind).map_err(|error| format!("cannot wait for signals: {error}"))?;
            let sender = sender.clone();
            tokio::spawn(
                async move { while signal.recv().await.is_some() && sender.send(()).await.is_ok() {} },
            );
        }
    }
    #[cfg(not(unix))]
    tokio::spawn(
        async move { while tokio::signal::ctrl_c().await.is_ok() && sender.send(()).await.is_ok() {} },
    );
    Ok(receiver)
}
