//! Layers as they are stored: plain, gzip or zstd, told apart by their first bytes. Bombs are noticed
//! while they unpack.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::LayerProblem;
use crate::oci::Limits;

/// Largest window that a zstd frame may ask for: what `zstd` itself accepts unless told otherwise.
const LARGEST_WINDOW: u64 = 128 << 20;

/// Unpacked bytes of a layer, counted.
pub(crate) struct Decompressed<'a> {
    inner: Box<dyn Read + 'a>,
    packed: Rc<Cell<u64>>,
    unpacked: u64,
    /// How many bytes may come.
    most: u64,
    limits: Limits,
}

impl<'a> Decompressed<'a> {
    /// `most` is what the total allows for this layer.
    pub(crate) fn new(reader: impl Read + 'a, most: u64, limits: Limits) -> io::Result<Self> {
        let packed = Rc::new(Cell::new(0));
        let counted = Counted {
            inner: reader,
            count: Rc::clone(&packed),
        };
        let mut buffered = BufReader::with_capacity(128 * 1024, counted);
        let begin = buffered.fill_buf()?;
        let inner: Box<dyn Read + 'a> = if begin.starts_with(&[0x1f, 0x8b]) {
            Box::new(Packed(MultiGzDecoder::new(buffered)))
        } else if is_zstd(begin) {
            Box::new(Packed(Zstd::new(buffered)))
        } else {
            Box::new(buffered)
        };
        Ok(Self {
            inner,
            packed,
            unpacked: 0,
            most,
            limits,
        })
    }

    /// Bytes that came out so far.
    pub(crate) fn unpacked(&self) -> u64 {
        self.unpacked
    }
}

impl Read for Decompressed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.unpacked += n as u64;
        if self.unpacked > self.most {
            return Err(io::Error::other(LayerProblem::TotalSize(
                self.limits.total_bytes,
            )));
        }
        let allowed = self.packed.get().saturating_mul(self.limits.ratio);
        if self.unpacked > Limits::RATIO_FROM && self.unpacked > allowed {
            return Err(io::Error::other(LayerProblem::Ratio(self.limits.ratio)));
        }
        Ok(n)
    }
}

/// Whether these are the first bytes of something packed.
pub(crate) fn is_packed(begin: &[u8]) -> bool {
    begin.starts_with(&[0x1f, 0x8b]) || is_zstd(begin)
}

fn is_zstd(begin: &[u8]) -> bool {
    let skippable =
        begin.len() >= 4 && begin[0] & 0xf0 == 0x50 && begin[1..4] == [0x2a, 0x4d, 0x18];
    begin.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable
}

struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

/// Makes the errors of a decoder into problems of the layer, but not those of the reader below it.
struct Packed<R>(R);

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidData
            | io::ErrorKind::UnexpectedEof => {
                io::Error::other(LayerProblem::Compression(error.to_string()))
            }
            _ => error,
        })
    }
}

/// Frames one after another, skippable ones passed over: archivers write several.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    /// Whether a frame has begun and not ended.
    within: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(LARGEST_WINDOW);
        Self {
            source,
            decoder,
            within: false,
        }
    }

    /// Goes on to the next frame; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut frame = (&mut self.source).take(length.into());
                    if io::copy(&mut frame, &mut io::sink())? < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error.to_string())),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if !self.decoder.is_finished() {
                let block = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.source, block);
                decoded.map_err(|error| invalid(error.to_string()))?;
                continue;
            }
            let said = self.decoder.get_checksum_from_data();
            if said.is_some() && said != self.decoder.get_calculated_checksum() {
                return Err(invalid("the checksum of a frame is wrong"));
            }
            self.within = false;
        }
    }
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decompressed::new(bytes, u64::MAX, Limits::default())?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn plain_gzip_and_zstd_are_told_apart_and_may_have_several_parts() {
        let text = b"some text, some text".repeat(10_000);
        let twice = [&text[..], &text].concat();
        assert_eq!(unpack(&text).unwrap(), text);
        assert_eq!(unpack(&[gzip(&text), gzip(&text)].concat()).unwrap(), twice);
        let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let frames = [zstd(&text), skippable.clone(), zstd(&text), skippable].concat();
        assert_eq!(unpack(&frames).unwrap(), twice);
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn garbage_behind_the_stream_and_a_cut_stream_are_refused() {
        for packed in [gzip(b"text"), zstd(b"text")] {
            for garbage in [
                &b"x"[..],
                b"garbage that is longer than any header",
                &[0; 512],
            ] {
                assert!(unpack(&[&packed, garbage].concat()).is_err());
            }
            for length in 4..packed.len() {
                assert!(unpack(&packed[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn a_bomb_is_noticed_while_it_unpacks() {
        let zeros = vec![0; 80 << 20];
        let error = unpack(&gzip(&zeros)).unwrap_err();
        let problem = error.get_ref().unwrap().downcast_ref();
        assert_eq!(problem, Some(&LayerProblem::Ratio(200)));
    }
}
