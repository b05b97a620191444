//! The checkpoint database. The only file that names LMDB.
//!
//! A narrow fence around it: open, get, all values below a prefix, put and delete in one synced transaction. Values
//! carry a version and a checksum and are copied out at once. No iterator, no NOSYNC, no WRITEMAP, never opened twice
//! by one process.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lmdb::{Cursor, Database, DatabaseFlags, Environment, EnvironmentFlags, Transaction, WriteFlags};

use super::cut::Cut;
use crate::sys::file;

/// Bytes of the database. Its file takes them at creation, so that a full disk cannot stop a checkpoint.
const MAP_BYTES: usize = 64 << 20;
const DATA_FILE: &str = "data.mdb";
const LOCK_FILE: &str = "lock.mdb";
/// What a damaged database is kept as.
const DAMAGED_FILE: &str = "data.mdb.damaged";
const VALUE_VERSION: u8 = 1;
/// The same with a value that Snappy has compressed: a cut may name many thousand files.
const COMPRESSED_VERSION: u8 = 2;
/// Values that a check reads at most.
const VALUES_MAX: usize = 1 << 20;
/// LMDB's names for the steps of a cursor.
const MDB_FIRST: u32 = 0;
const MDB_NEXT: u32 = 8;
const MDB_SET_RANGE: u32 = 17;

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {source}", path.display())]
    Lmdb { path: PathBuf, source: lmdb::Error },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: the value of {key} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, key: String, what: String },
    #[error(
        "{}: the value of {key} is of version {version}, which this program cannot read: a newer logmill wrote it, \
         start that one", path.display()
    )]
    Newer { path: PathBuf, key: String, version: u8 },
}

/// The ledger's database, shared by the tasks' keepers.
pub struct Store {
    env: Environment,
    db: Database,
    path: PathBuf,
}

impl StoreError {
    /// The disk or the kernel refused, which says nothing about what the database holds; or a newer program wrote it.
    pub fn may_pass(&self) -> bool {
        // ENOMEM is not among them: a damaged page may name a map of any size.
        let passing = [libc::EACCES, libc::EPERM, libc::EROFS, libc::ENOSPC, libc::EMFILE, libc::EIO];
        match self {
            StoreError::Io { .. } | StoreError::Newer { .. } => true,
            StoreError::Lmdb { source: lmdb::Error::Other(code), .. } => passing.contains(code),
            StoreError::Lmdb { .. } | StoreError::Damaged { .. } => false,
        }
    }
}

impl Store {
    /// True where a database stands in `dir` that has been used.
    pub fn exists(dir: &Path) -> bool {
        dir.join(DATA_FILE).metadata().is_ok_and(|meta| meta.len() > 0)
    }

    /// Reads all that the database in `dir` holds, and commits once. LMDB believes what it finds in its pages: a
    /// damaged file may end the process, so a process of its own must ask this.
    ///
    /// # Errors
    /// What is damaged, as far as it could be told.
    pub fn check(dir: &Path) -> Result<(), StoreError> {
        let store = Store::open(dir)?;
        store.check_values()?;
        let error = |source| StoreError::Lmdb { path: store.path.clone(), source };
        let mut txn = store.env.begin_rw_txn().map_err(error)?;
        txn.put(store.db, b"check", &sealed(b""), WriteFlags::empty()).map_err(error)?;
        txn.commit().map_err(error)?;
        store.check_values()
    }

    fn check_values(&self) -> Result<(), StoreError> {
        let error = |source| StoreError::Lmdb { path: self.path.clone(), source };
        let txn = self.env.begin_ro_txn().map_err(error)?;
        let cursor = txn.open_ro_cursor(self.db).map_err(error)?;
        let mut step = MDB_FIRST;
        for _ in 0..VALUES_MAX {
            let (key, value) = match cursor.get(None, None, step) {
                Err(lmdb::Error::NotFound) => return Ok(()),
                other => other.map_err(error)?,
            };
            let name = String::from_utf8_lossy(key.unwrap_or_default());
            let value = self.unsealed(&name, value)?;
            if name.starts_with("cut/") {
                serde_json::from_slice::<Cut>(&value).map_err(|e| self.damaged(&name, e))?;
            }
            step = MDB_NEXT;
        }
        Err(self.damaged("", "there is no end of values"))
    }

    /// Takes the database out of the way, for somebody to look at; the next one that is opened is empty.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_aside(dir: &Path) -> io::Result<PathBuf> {
        let aside = dir.join(DAMAGED_FILE);
        std::fs::rename(dir.join(DATA_FILE), &aside)?;
        file::sync_dir(dir)?;
        Ok(aside)
    }

    /// Removes what LMDB keeps about its readers; it makes it anew. Nobody may have the database open.
    ///
    /// # Errors
    /// The kernel's.
    pub fn clear_readers(dir: &Path) -> io::Result<()> {
        match std::fs::remove_file(dir.join(LOCK_FILE)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Opens or makes the database in `dir`.
    ///
    /// # Errors
    /// LMDB's or the kernel's.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        let io_error = |source| StoreError::Io { path: dir.to_path_buf(), source };
        file::make_dirs(dir, file::PRIVATE_DIR_MODE).map_err(io_error)?;
        reserve(&dir.join(DATA_FILE)).map_err(io_error)?;
        let lmdb_error = |source| StoreError::Lmdb { path: dir.to_path_buf(), source };
        let env = Environment::new()
            .set_flags(EnvironmentFlags::empty())
            .set_map_size(MAP_BYTES)
            .set_max_dbs(1)
            .open_with_permissions(dir, file::PRIVATE_FILE_MODE)
            .map_err(lmdb_error)?;
        let db = env.create_db(Some("ledger"), DatabaseFlags::empty()).map_err(lmdb_error)?;
        Ok(Store { env, db, path: dir.to_path_buf() })
    }

    /// Opens the database in `dir` beside the process that writes it, which does not notice: nothing is locked. So a
    /// value may be found damaged that is being written, and is to be asked for again.
    ///
    /// # Errors
    /// LMDB's; there is no database.
    pub fn open_to_read(dir: &Path) -> Result<Store, StoreError> {
        let lmdb_error = |source| StoreError::Lmdb { path: dir.to_path_buf(), source };
        let flags = EnvironmentFlags::READ_ONLY | EnvironmentFlags::NO_LOCK;
        let env = Environment::new().set_flags(flags).set_max_dbs(1).open(dir).map_err(lmdb_error)?;
        let db = env.open_db(Some("ledger")).map_err(lmdb_error)?;
        Ok(Store { env, db, path: dir.to_path_buf() })
    }

    /// The state that the records of `topic` in `group_id` belong to.
    ///
    /// # Errors
    /// LMDB's, or a damaged value.
    pub fn state_of(&self, group_id: &str, topic: &str) -> Result<Option<u64>, StoreError> {
        let key = owner_key(group_id, topic);
        let Some(value) = self.get(&key)? else { return Ok(None) };
        let number = value.try_into().map(u64::from_le_bytes);
        number.map(Some).map_err(|_| self.damaged(&key, "it is not a number"))
    }

    /// The newest committed cut of a state.
    ///
    /// # Errors
    /// LMDB's, or a damaged value.
    pub fn cut(&self, state_id: u64) -> Result<Option<Cut>, StoreError> {
        let key = cut_key(state_id);
        let Some(value) = self.get(&key)? else { return Ok(None) };
        serde_json::from_slice(&value).map(Some).map_err(|e| self.damaged(&key, e))
    }

    /// Commits a cut, durably, in one transaction with who owns its topics.
    ///
    /// # Errors
    /// LMDB's. The cut is then not committed, and must not be acted upon.
    pub fn commit(&self, state_id: u64, cut: &Cut) -> Result<(), StoreError> {
        let text = serde_json::to_vec(cut).map_err(|e| self.damaged(&cut_key(state_id), e))?;
        let error = |source| StoreError::Lmdb { path: self.path.clone(), source };
        let mut txn = self.env.begin_rw_txn().map_err(error)?;
        txn.put(self.db, &key_bytes(&cut_key(state_id)), &compressed(&text), WriteFlags::empty()).map_err(error)?;
        for topic in &cut.topics {
            let key = owner_key(&cut.group_id, &topic.name);
            let value = sealed(&state_id.to_le_bytes());
            txn.put(self.db, &key_bytes(&key), &value, WriteFlags::empty()).map_err(error)?;
        }
        txn.commit().map_err(error)
    }

    /// Every value whose key begins so.
    ///
    /// # Errors
    /// LMDB's, or a damaged value.
    pub fn with_prefix(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let error = |source| StoreError::Lmdb { path: self.path.clone(), source };
        let txn = self.env.begin_ro_txn().map_err(error)?;
        let cursor = txn.open_ro_cursor(self.db).map_err(error)?;
        let mut found = Vec::new();
        let (mut from, mut step) = (Some(prefix.as_bytes()), MDB_SET_RANGE);
        while found.len() < VALUES_MAX {
            let (key, value) = match cursor.get(from, None, step) {
                Err(lmdb::Error::NotFound) => break,
                other => other.map_err(error)?,
            };
            let Some(key) = key.filter(|key| key.starts_with(prefix.as_bytes())) else { break };
            let key = String::from_utf8_lossy(key).into_owned();
            let value = self.unsealed(&key, value)?;
            found.push((key, value));
            (from, step) = (None, MDB_NEXT);
        }
        Ok(found)
    }

    /// Writes and deletes values, durably, in one transaction.
    ///
    /// # Errors
    /// LMDB's; then nothing is changed.
    pub fn put_all(&self, changes: &BTreeMap<String, Option<Vec<u8>>>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let error = |source| StoreError::Lmdb { path: self.path.clone(), source };
        let mut txn = self.env.begin_rw_txn().map_err(error)?;
        for (key, value) in changes {
            let key = key_bytes(key);
            match value {
                Some(value) => txn.put(self.db, &key, &sealed(value), WriteFlags::empty()).map_err(error)?,
                None => match txn.del(self.db, &key, None) {
                    Ok(()) | Err(lmdb::Error::NotFound) => {}
                    Err(source) => return Err(error(source)),
                },
            }
        }
        txn.commit().map_err(error)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let error = |source| StoreError::Lmdb { path: self.path.clone(), source };
        let txn = self.env.begin_ro_txn().map_err(error)?;
        match txn.get(self.db, &key_bytes(key)) {
            Ok(value) => self.unsealed(key, value).map(Some),
            Err(lmdb::Error::NotFound) => Ok(None),
            Err(source) => Err(error(source)),
        }
    }

    fn unsealed(&self, key: &str, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        let whole = bytes.split_first().and_then(|(version, rest)| Some((*version, rest.split_first_chunk()?)));
        match whole {
            Some((version, (crc, value))) if crc32fast::hash(value) == u32::from_le_bytes(*crc) => match version {
                VALUE_VERSION => Ok(value.to_vec()),
                COMPRESSED_VERSION => snap::raw::Decoder::new().decompress_vec(value).map_err(|e| self.damaged(key, e)),
                _ => Err(StoreError::Newer { path: self.path.clone(), key: key.into(), version }),
            },
            _ => Err(self.damaged(key, "its checksum")),
        }
    }

    fn damaged(&self, key: &str, what: impl ToString) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), key: key.into(), what: what.to_string() }
    }
}

fn owner_key(group_id: &str, topic: &str) -> String {
    format!("owner/{group_id}/{topic}")
}

fn cut_key(state_id: u64) -> String {
    format!("cut/{state_id:016x}")
}

/// LMDB takes keys of at most 511 bytes: a longer one ends in its hash.
fn key_bytes(key: &str) -> Vec<u8> {
    const KEY_MAX: usize = 500;
    let mut bytes = key.as_bytes().to_vec();
    if bytes.len() > KEY_MAX {
        let hash = crate::flow::name::fnv1a_64(&bytes);
        bytes.truncate(KEY_MAX - 8);
        bytes.extend(hash.to_le_bytes());
    }
    bytes
}

/// Version, checksum of the rest, the rest.
fn sealed(value: &[u8]) -> Vec<u8> {
    seal(VALUE_VERSION, value)
}

fn compressed(value: &[u8]) -> Vec<u8> {
    // It fails for values above 4 GB alone.
    match snap::raw::Encoder::new().compress_vec(value) {
        Ok(small) => seal(COMPRESSED_VERSION, &small),
        Err(_) => sealed(value),
    }
}

fn seal(version: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![version];
    bytes.extend(crc32fast::hash(value).to_le_bytes());
    bytes.extend(value);
    bytes
}

/// Takes the blocks of the whole map from the disk now.
fn reserve(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(file::PRIVATE_FILE_MODE).custom_flags(libc::O_NOFOLLOW);
    let data = options.open(path)?;
    file::allocate(&data, MAP_BYTES as u64)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot reserve {MAP_BYTES} bytes: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that is older than its ledger must not take it for a damaged one and set it aside.
    #[test]
    fn a_value_of_a_newer_version_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let put = |bytes: &[u8]| {
            let mut txn = store.env.begin_rw_txn().unwrap();
            txn.put(store.db, &key_bytes(&cut_key(7)), &bytes, WriteFlags::empty()).unwrap();
            txn.commit().unwrap();
            store.cut(7).unwrap_err()
        };
        let newer = put(&seal(COMPRESSED_VERSION + 1, b"value"));
        assert!(newer.may_pass() && newer.to_string().contains("of version 3"), "{newer}");
        let mut flipped = seal(COMPRESSED_VERSION + 1, b"value");
        flipped[6] ^= 1;
        assert!(!put(&flipped).may_pass());
    }
}
