//! Compresses batches, into one buffer that is used again.

use std::io::{self, Write};

/// What flate2, and other clients of Kafka, take where nobody asks for another level.
const GZIP_LEVEL: u32 = 6;
/// The same for zstd.
const ZSTD_LEVEL: i32 = 3;

/// The tool of one codec with its buffer.
pub struct Packer {
    codec: i16,
    snappy: snap::raw::Encoder,
    /// As long as it ever was, so that it is not filled with zeros each time.
    buffer: Vec<u8>,
}

impl Packer {
    /// By its name in the configuration; `None` where that is not known.
    pub fn of(name: &str) -> Option<Packer> {
        let codec = ["none", "gzip", "snappy", "lz4", "zstd"].iter().position(|known| *known == name)?;
        Some(Packer { codec: codec as i16, snappy: snap::raw::Encoder::new(), buffer: Vec::new() })
    }

    /// The compressed bytes and the codec as a batch's head names it; the bytes as they are where that fails.
    pub fn pack<'a>(&'a mut self, plain: &'a [u8]) -> (i16, &'a [u8]) {
        let length = match self.codec {
            0 => return (0, plain),
            2 => self.snappy(plain),
            _ => self.write(plain),
        };
        match length {
            Ok(length) => (self.codec, &self.buffer[..length]),
            // Only memory can fail here, and that ends the process.
            Err(_) => (0, plain),
        }
    }

    fn snappy(&mut self, plain: &[u8]) -> io::Result<usize> {
        let most = snap::raw::max_compress_len(plain.len());
        if self.buffer.len() < most {
            self.buffer.resize(most, 0);
        }
        Ok(self.snappy.compress(plain, &mut self.buffer)?)
    }

    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        self.buffer.clear();
        let buffer = &mut self.buffer;
        match self.codec {
            1 => {
                let mut encoder = flate2::write::GzEncoder::new(buffer, flate2::Compression::new(GZIP_LEVEL));
                encoder.write_all(plain)?;
                encoder.finish()?;
            }
            3 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(buffer);
                encoder.write_all(plain)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            _ => zstd::stream::copy_encode(plain, buffer, ZSTD_LEVEL)?,
        }
        Ok(self.buffer.len())
    }
}
