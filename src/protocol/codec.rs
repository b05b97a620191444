//! Compressed batches, unpacked into one buffer that is used again: never more than its limit, whatever the bytes say.

use std::io::Read;

use crate::flow::xerial;

/// Bytes that one batch may become. No broker takes a request above 100 MiB, so no honest producer's batch is larger.
pub const UNPACKED_MAX: usize = 128 << 20;
/// A buffer above this is given back after its batch.
const KEPT_MAX: usize = 8 << 20;
/// The buffer's first bytes where nothing tells how many it will be.
const FIRST_ROOM: usize = 64 << 10;
/// Snappy's copies make at most 64 bytes of two.
const SNAPPY_RATIO_MAX: usize = 32;
/// Memory of zstd's window: 2 to this.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The tools with their buffer.
pub struct Codecs {
    /// Bytes that one batch may become.
    most: usize,
    snappy: snap::raw::Decoder,
    /// As long as it ever was, so that it is not filled with zeros each time.
    buffer: Vec<u8>,
    used: usize,
}

impl Default for Codecs {
    fn default() -> Codecs {
        Codecs { most: UNPACKED_MAX, snappy: snap::raw::Decoder::new(), buffer: Vec::new(), used: 0 }
    }
}

impl Codecs {
    /// Unpacks what is compressed with `codec` as a batch's head names it: 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    ///
    /// # Errors
    /// Unknown, damaged, or too large.
    pub fn unpack(&mut self, codec: i16, packed: &[u8]) -> Result<(), String> {
        self.used = 0;
        if self.buffer.len() > KEPT_MAX {
            self.buffer = Vec::new();
        }
        let named = |name: &str, reason: &dyn std::fmt::Display| format!("{name}: {reason}");
        match codec {
            1 => self.read(flate2::bufread::MultiGzDecoder::new(packed)).map_err(|e| named("gzip", &e)),
            2 => self.snappy(packed).map_err(|e| named("snappy", &e)),
            3 => self.read(lz4_flex::frame::FrameDecoder::new(packed)).map_err(|e| named("lz4", &e)),
            4 => self.zstd(packed).map_err(|e| named("zstd", &e)),
            other => Err(format!("compression {other} is not known")),
        }
    }

    /// What was unpacked last.
    pub fn unpacked(&self) -> &[u8] {
        &self.buffer[..self.used]
    }

    fn snappy(&mut self, packed: &[u8]) -> Result<(), String> {
        let Some(blocks) = xerial::blocks(packed) else { return self.snappy_block(packed) };
        blocks?.try_for_each(|block| self.snappy_block(block?))
    }

    fn snappy_block(&mut self, block: &[u8]) -> Result<(), String> {
        let length = snap::raw::decompress_len(block).map_err(|e| e.to_string())?;
        if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(format!("{} bytes cannot become {length}", block.len()));
        }
        let end = self.used + length;
        if end > self.most {
            return Err(self.too_large());
        }
        self.make_room(end);
        let room = &mut self.buffer[self.used..end];
        self.used += self.snappy.decompress(block, room).map_err(|e| e.to_string())?;
        Ok(())
    }

    fn zstd(&mut self, packed: &[u8]) -> Result<(), String> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|e| e.to_string())?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|e| e.to_string())?;
        self.read(decoder)
    }

    fn read(&mut self, mut from: impl Read) -> Result<(), String> {
        loop {
            if self.used == self.buffer.len() {
                // A byte above the limit tells what is too large from what fills it.
                self.make_room((self.used * 2).max(FIRST_ROOM).min(self.most + 1));
            }
            match from.read(&mut self.buffer[self.used..]).map_err(|e| e.to_string())? {
                0 => return Ok(()),
                count => self.used += count,
            }
            if self.used > self.most {
                self.used = 0;
                return Err(self.too_large());
            }
        }
    }

    fn make_room(&mut self, bytes: usize) {
        if bytes > self.buffer.len() {
            self.buffer.resize(bytes, 0);
        }
    }

    fn too_large(&self) -> String {
        format!("it becomes more than {} bytes", self.most)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::flow::xerial::tests::framed;

    fn snappy(plain: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(plain).unwrap()
    }

    fn xerial(plain: &[u8]) -> Vec<u8> {
        framed(plain.chunks(1000).map(snappy))
    }

    fn pack(codec: i16, plain: &[u8]) -> Vec<u8> {
        match codec {
            1 => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            2 => snappy(plain),
            3 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::encode_all(plain, 1).unwrap(),
        }
    }

    #[test]
    fn every_codec_comes_back_and_the_buffer_is_used_again() {
        let mut codecs = Codecs::default();
        for length in [100_000_u64, 10, 0, 300_000] {
            let plain: Vec<u8> = (0..length).map(|at: u64| (at * at / 7) as u8).collect();
            for packed in (1..=4).map(|codec| (codec, pack(codec, &plain))).chain([(2, xerial(&plain))]) {
                codecs.unpack(packed.0, &packed.1).unwrap();
                assert!(codecs.unpacked() == plain, "codec {} of {length} bytes", packed.0);
            }
        }
        assert_eq!(codecs.unpack(5, &[]).unwrap_err(), "compression 5 is not known");
    }

    #[test]
    fn what_becomes_too_large_is_refused_in_bounded_memory() {
        const MOST: usize = 1 << 20;
        let zeros = vec![0; MOST + 1];
        let mut codecs = Codecs { most: MOST, ..Codecs::default() };
        for codec in [1, 3, 4] {
            let packed = pack(codec, &zeros);
            assert!(codecs.unpack(codec, &packed).unwrap_err().contains("more than 1048576 bytes"), "codec {codec}");
            assert!(codecs.buffer.len() <= MOST + 1);
        }
        let lie = [0xff, 0xff, 0xff, 0x3f, 0];
        assert!(codecs.unpack(2, &lie).unwrap_err().contains("5 bytes cannot become 134217727"));
        codecs.unpack(1, &pack(1, &zeros[..MOST])).unwrap();
        assert_eq!(codecs.unpacked().len(), MOST, "the limit itself is none too large");
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_other_bytes_and_no_panic(
            codec in 1..=5_i16,
            spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            bytes in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        ) {
            let plain: Vec<u8> = (0..5000).map(|at| (at / 3) as u8).collect();
            let mut packed = if codec == 5 { xerial(&plain) } else { pack(codec, &plain) };
            spoil.iter().for_each(|(at, with)| { let at = at.index(packed.len()); packed[at] = *with; });
            let mut codecs = Codecs::default();
            let _ = codecs.unpack(if codec == 5 { 2 } else { codec }, &bytes.unwrap_or(packed));
        }
    }
}
