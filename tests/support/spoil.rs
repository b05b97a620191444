//! Batches that rot on the broker's disk.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::kafka;

/// Bytes of a batch before its records, and where in them its checksum stands and begins.
const BATCH_HEAD: usize = 61;
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

/// What is wrong with a batch.
#[derive(Debug, Clone, Copy)]
pub enum Rot {
    /// Its checksum does not fit.
    Checksum,
    /// Its checksum fits, and it does not decompress.
    Codec,
}

/// The second batch in the broker's file of a partition, spoiled until it is mended.
pub struct Spoiled {
    file: std::fs::File,
    at: u64,
    sound: Vec<u8>,
}

impl Spoiled {
    pub fn second_batch(topic: &str, partition: i32, rot: Rot) -> Spoiled {
        let path = segment(&format!("{topic}-{partition}"));
        let file = std::fs::File::options().read(true).write(true).open(&path).expect("the segment");
        let content = std::fs::read(&path).expect("the segment");
        let length = |at: usize| 12 + u32::from_be_bytes(content[at + 8..at + 12].try_into().expect("4")) as usize;
        let at = length(0);
        let sound = content[at..at + length(at)].to_vec();
        let mut batch = sound.clone();
        match rot {
            Rot::Checksum => batch[BATCH_HEAD + 40] ^= 0x40,
            Rot::Codec => {
                batch[BATCH_HEAD..BATCH_HEAD + 8].fill(0xff);
                let crc = crc32c(&batch[CRC_FROM..]);
                batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
            }
        }
        assert_eq!(sound[CRC_AT..CRC_FROM], crc32c(&sound[CRC_FROM..]).to_be_bytes(), "this is where a batch is");
        file.write_all_at(&batch, at as u64).expect("spoil");
        Spoiled { file, at: at as u64, sound }
    }

    pub fn mend(self) {
        self.file.write_all_at(&self.sound, self.at).expect("mend");
    }
}

/// The broker's first file of a partition.
fn segment(partition: &str) -> PathBuf {
    let mut dirs = vec![kafka().dir().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("the broker's files") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && path.ends_with(partition) {
                return path.join("00000000000000000000.log");
            }
            dirs.extend(path.is_dir().then_some(path));
        }
    }
    panic!("no directory of {partition}")
}

/// Castagnoli's, as Kafka's batches carry it.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}
