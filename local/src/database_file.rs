//! The SQLite file of the embedded engine: whether the engine can use it, and what to do when not.

use std::fs::{self, File, TryLockError};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

/// The beginning of a file of SQLite.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The largest file whose pages are all read at the start, in bytes. A larger one would delay it by seconds.
const MAX_CHECKED_LEN: u64 = 256 * 1024 * 1024;
/// Time to wait for another process that writes to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The absolute path of a file that exists, or that can be made in its folder.
///
/// # Errors
/// One line that says what to do, when there can be no such file.
pub fn locate(path: &Path) -> Result<PathBuf, String> {
    if path.is_dir() {
        let inside = path.join("activity-log.db");
        return Err(format!(
            "{} is a folder; name a file in it, such as --db-path {}",
            path.display(),
            inside.display()
        ));
    }
    let located = path.canonicalize().or_else(|_| {
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let name = path.file_name().ok_or("it has no name")?;
        match folder.canonicalize() {
            Ok(folder) => Ok(folder.join(name)),
            Err(_) if !folder.exists() => {
                Err(format!("there is no folder {0}; make it first: mkdir -p {0}", folder.display()))
            }
            Err(error) => Err(error.to_string()),
        }
    });
    located.map_err(|error| format!("cannot use the database {}: {error}", path.display()))
}

/// Checks that an engine can read the file, which may be a new one, and write to it. No other one can until the returned
/// lock is dropped.
///
/// # Errors
/// One line that says what to do.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    require_sqlite(path)?;
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().readonly()) {
        return Err(read_only(path));
    }
    // The lock has a file of its own, because SQLite locks the database itself, and some systems let the two conflict.
    let lock = File::options().create(true).truncate(false).write(true).open(lock_path(path));
    let lock = lock.map_err(|error| {
        let folder = path.parent().unwrap_or(path).display();
        format!(
            "cannot make files beside the database {}: {error}; allow writing to {folder}",
            path.display()
        )
    })?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(in_use(path)),
        // A file system without locks cannot tell.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    probe(path).map_err(|error| explain(path, &error))?.map_or(Ok(lock), Err)
}

/// Checks that there is a file, that SQLite wrote it, and that no engine uses it.
///
/// # Errors
/// One line that says what to do.
pub(crate) fn require_at_rest(path: &Path) -> Result<(), String> {
    let shown = path.display();
    if path.is_dir() {
        return Err(format!("{shown} is a folder; name the database file in it"));
    }
    if !path.exists() {
        return Err(format!("there is no file {shown}; name the one that the gateway has as its --db-path"));
    }
    require_sqlite(path)?;
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let lock = File::open(lock_path(&path));
    if lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))) {
        return Err(format!("{} is in use by a gateway; stop it first", path.display()));
    }
    Ok(())
}

/// The file beside a database that is locked while an engine uses the database. It stays, because a process that deletes it
/// could delete the one that another process has just locked.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    name.into()
}

/// An error of the engine or of SQLite in one line that says what to do.
pub(crate) fn explain(path: &Path, error: &rusqlite::Error) -> String {
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => no_database(path),
        Some(ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => read_only(path),
        Some(ErrorCode::CannotOpen) => {
            let folder = path.parent().unwrap_or(path).display();
            format!("cannot open or make {shown}; allow reading and writing it, and writing to {folder}")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => in_use(path),
        Some(ErrorCode::DiskFull) => format!("there is no room on the disk for {shown}; make some"),
        _ => format!("cannot use the database {shown}: {error}; give --db-path another name"),
    }
}

/// The files that have to begin with SQLite's header. An empty one is a new database.
fn require_sqlite(path: &Path) -> Result<(), String> {
    let mut start = Vec::new();
    match File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start)) {
        Ok(0) => Ok(()),
        Ok(_) if start == MAGIC => Ok(()),
        Ok(_) => Err(no_database(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(format!("cannot read {0}: {error}; allow reading it: chmod u+rw {0}", path.display()))
        }
    }
}

/// Reads the file and takes its lock for writing, but changes nothing. Returns what speaks against using it.
fn probe(path: &Path) -> rusqlite::Result<Option<String>> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let (tables, ours): (u64, u64) = connection.query_row(
        "SELECT count(*), coalesce(sum(name = '_tables'), 0) FROM sqlite_schema WHERE type = 'table'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if tables > 0 && ours == 0 {
        let shown = path.display();
        return Ok(Some(format!("{shown} is the database of another program; give --db-path another name")));
    }
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() <= MAX_CHECKED_LEN) {
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Ok(Some(damaged(path, &found)));
        }
    }
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
    Ok(None)
}

fn no_database(path: &Path) -> String {
    format!("{} is no SQLite database; give --db-path another name, or move that file away", path.display())
}

fn in_use(path: &Path) -> String {
    let shown = path.display();
    format!("{shown} is in use by another gateway or program; stop that one, or give --db-path another name")
}

fn damaged(path: &Path, found: &str) -> String {
    let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "{} is damaged ({found}); put a copy of it back, or move it away to begin with an empty log",
        path.display()
    )
}

fn read_only(path: &Path) -> String {
    format!(
        "{0} is read-only; allow writing to it and to its folder (chmod u+w {0}), or give --db-path another name",
        path.display()
    )
}
