//! Entry after entry, with what extension headers say already applied.

use std::io::{self, Read};

use super::header::{BLOCK, Header, Kind};
use super::pax::{Pax, check_global};
use crate::LayerProblem;
use crate::oci::Limits;

/// One entry. Its content, if it is a file, is what [`TarReader`] reads next.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// As it stands in the archive.
    pub(crate) name: Vec<u8>,
    /// Target of a link.
    pub(crate) link: Vec<u8>,
    /// Of a file's content.
    pub(crate) size: u64,
    /// Permission bits with the three special ones.
    pub(crate) mode: u32,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    /// Names of extended attributes, which nobody applies.
    pub(crate) attributes: Vec<String>,
}

/// A problem, or a failure of the reader below.
#[derive(Debug)]
pub(crate) enum Failure {
    Problem(LayerProblem),
    Io(io::Error),
}

impl From<LayerProblem> for Failure {
    fn from(problem: LayerProblem) -> Self {
        Self::Problem(problem)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Readers below hand their own problems through as errors.
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<LayerProblem>());
        match inner {
            Some(problem) => Self::Problem(problem.clone()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Problem(LayerProblem::Truncated)
            }
            None => Self::Io(error),
        }
    }
}

/// Reads an archive. As a [`Read`] it yields the content of the current entry.
pub(crate) struct TarReader<R> {
    inner: R,
    /// Of the current entry's content, not read yet.
    left: u64,
    /// Zeros behind the content, up to the next block.
    padding: u64,
    /// Headers of all kinds so far.
    headers: u64,
    most: u64,
    /// The name in the header looked at last, for messages.
    pub(crate) last: Vec<u8>,
}

impl<R: Read> TarReader<R> {
    /// A reader that refuses an archive with more than `most` headers.
    pub(crate) fn new(inner: R, most: u64) -> Self {
        Self {
            inner,
            left: 0,
            padding: 0,
            headers: 0,
            most,
            last: Vec::new(),
        }
    }

    /// The reader below.
    pub(crate) fn inner(&self) -> &R {
        &self.inner
    }

    /// The next entry; what is left of the current one is passed over. `None` at the end, behind which
    /// there is nothing.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Failure> {
        let (mut pax, mut long_name, mut long_link) = (None, None, None);
        loop {
            self.pass_over()?;
            let Some(header) = self.header()? else {
                if pax.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(LayerProblem::Truncated.into());
                }
                return Ok(None);
            };
            self.last.clone_from(&header.name);
            match header.kind {
                Kind::Pax => set(&mut pax, Pax::parse(&self.body(&header)?)?)?,
                Kind::GlobalPax => check_global(&self.body(&header)?)?,
                Kind::LongName => set(&mut long_name, self.long(&header)?)?,
                Kind::LongLink => set(&mut long_link, self.long(&header)?)?,
                _ => {
                    return self
                        .entry(header, pax.unwrap_or_default(), long_name, long_link)
                        .map(Some);
                }
            }
        }
    }

    fn entry(
        &mut self,
        header: Header,
        pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, Failure> {
        let name = pax.path.or(long_name).unwrap_or(header.name);
        self.last.clone_from(&name);
        let mut kind = header.kind;
        if kind == Kind::File && name.ends_with(b"/") {
            kind = Kind::Folder;
        }
        let size = pax.size.unwrap_or(header.size);
        if kind != Kind::File && size != 0 {
            // Some archivers take it as content, others do not.
            return Err(LayerProblem::Header("it is no file, but has a size").into());
        }
        self.expect(size)?;
        Ok(Entry {
            kind,
            name,
            link: pax.link.or(long_link).unwrap_or(header.link),
            size,
            mode: header.mode,
            mtime: pax.mtime.unwrap_or(header.mtime),
            attributes: pax.attributes,
        })
    }

    fn header(&mut self) -> Result<Option<Header>, Failure> {
        let mut block = [0; BLOCK];
        match fill(&mut self.inner, &mut block)? {
            // Without a mark at the end, as some archivers leave it.
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(LayerProblem::Truncated.into()),
        }
        if block.iter().all(|b| *b == 0) {
            self.end()?;
            return Ok(None);
        }
        self.headers += 1;
        if self.headers > self.most {
            return Err(LayerProblem::Entries(self.most).into());
        }
        Ok(Some(Header::parse(&block)?))
    }

    /// Behind the first block of zeros there are only more of them.
    fn end(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 16 * BLOCK];
        loop {
            let n = fill(&mut self.inner, &mut buffer)?;
            if buffer[..n].iter().any(|b| *b != 0) {
                return Err(LayerProblem::Trailing.into());
            }
            if n < buffer.len() {
                return Ok(());
            }
        }
    }

    fn expect(&mut self, size: u64) -> Result<(), LayerProblem> {
        if size > i64::MAX as u64 {
            return Err(LayerProblem::Header("its size is no number"));
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn body(&mut self, header: &Header) -> Result<Vec<u8>, Failure> {
        if header.size > Limits::EXTENSION {
            return Err(
                LayerProblem::Pax(format!("is larger than {} bytes", Limits::EXTENSION)).into(),
            );
        }
        self.expect(header.size)?;
        let mut body = Vec::new();
        self.read_to_end(&mut body)?;
        Ok(body)
    }

    fn long(&mut self, header: &Header) -> Result<Vec<u8>, Failure> {
        let mut name = self.body(header)?;
        if let Some(zero) = name.iter().position(|b| *b == 0) {
            if name[zero..].iter().any(|b| *b != 0) {
                return Err(LayerProblem::Name.into());
            }
            name.truncate(zero);
        }
        Ok(name)
    }

    fn pass_over(&mut self) -> Result<(), Failure> {
        io::copy(self, &mut io::sink())?;
        let mut padding = [0; BLOCK];
        let padding = &mut padding[..self.padding as usize];
        self.padding = 0;
        if fill(&mut self.inner, padding)? < padding.len() {
            return Err(LayerProblem::Truncated.into());
        }
        Ok(())
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(io::Error::other(LayerProblem::Truncated));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), LayerProblem> {
    if place.replace(value).is_some() {
        return Err(LayerProblem::Header(
            "two headers in a row extend the same entry",
        ));
    }
    Ok(())
}

/// Reads until the buffer is full or the end.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
