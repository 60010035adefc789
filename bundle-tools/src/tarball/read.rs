//! Reads an archive from a stream, one entry at a time.

use std::io::{self, BufRead, Read};

use super::{
    BLOCK, Entry, Extent, HeaderLimits, Kind, TarError, Timespec, number,
    pax::Overrides,
    printable,
    sparse::{self, Version},
};

/// An archive that is being read. [`next`](Self::next) gives the entries, the reader itself the data of the last one.
#[derive(Debug)]
pub struct TarReader<R> {
    input: R,
    limits: HeaderLimits,
    /// Where in the stream the next byte comes from.
    offset: u64,
    /// Data of the current entry that was not read yet, and what pads it to a block.
    left: u64,
    padding: u64,
    /// For messages.
    name: Option<Vec<u8>>,
    finished: bool,
}

/// What stood before an entry's own header.
#[derive(Default)]
struct Extended {
    pax: Overrides,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: BufRead> TarReader<R> {
    /// Reads an archive from `input`.
    pub fn new(input: R, limits: HeaderLimits) -> Self {
        Self { input, limits, offset: 0, left: 0, padding: 0, name: None, finished: false }
    }

    /// The next entry, or `None` at the end of the archive. What is left of the data of the one before is skipped.
    #[expect(clippy::should_implement_trait, reason = "the data of an entry borrows the reader")]
    pub fn next(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_data()?;
        self.name = None;
        let mut extended = Extended::default();
        loop {
            let start = self.offset;
            let Some(block) = self.read_block()? else { return Ok(None) };
            let header = tar::Header::from_byte_slice(&block);
            check_sum(&block).map_err(|why| self.bad(start, why))?;
            let kind = block[156];
            match kind {
                // Global records are ignored, as the other engines do.
                b'x' | b'g' => {
                    let data = self.read_extension(header, start, self.limits.pax)?;
                    if kind == b'x' {
                        extended.pax.read(&data).map_err(|why| self.bad(start, &why))?;
                    }
                }
                b'L' => extended.long_name = Some(self.read_long(header, start)?),
                b'K' => extended.long_link = Some(self.read_long(header, start)?),
                _ => return self.entry(header, extended, start).map(Some),
            }
        }
    }

    /// Data of the current entry that is at hand; empty at its end. [`consume`](Self::consume) what was used.
    pub fn chunk(&mut self) -> Result<&[u8], TarError> {
        if self.left == 0 {
            return Ok(&[]);
        }
        // The borrow checker wants the failure built before the buffer is borrowed for the answer.
        if let Err(source) = fill(&mut self.input) {
            return Err(self.failed(source));
        }
        let buffer =
            self.input.fill_buf().map_err(|source| TarError::Read { entry: None, source })?;
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        Ok(&buffer[..n])
    }

    /// Takes `n` bytes of the current chunk as used.
    pub fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.left -= n as u64;
        self.offset += n as u64;
    }

    /// The stream, positioned behind the archive's last entry.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn entry(
        &mut self,
        header: &tar::Header,
        extended: Extended,
        start: u64,
    ) -> Result<Entry, TarError> {
        let Extended { mut pax, long_name, long_link } = extended;
        let sparse_version = pax.sparse.version();
        let name = match (sparse_version, pax.sparse.name.take()) {
            (Some(_), Some(name)) => name,
            _ => pax
                .path
                .take()
                .or(long_name)
                .unwrap_or_else(|| until_nul(&header.path_bytes()).to_vec()),
        };
        self.name = Some(name.clone());
        let link = pax
            .link
            .take()
            .or(long_link)
            .unwrap_or_else(|| until_nul(&header.as_old().linkname).to_vec());
        if name.len() > self.limits.name || link.len() > self.limits.name {
            let why = format!("its name or target is longer than {} bytes", self.limits.name);
            return Err(self.bad(start, &why));
        }
        let kind = parse_kind(header, &name, &link).map_err(|why| self.bad(start, &why))?;
        let numbers = Numbers::read(header, &pax).map_err(|why| self.bad(start, &why))?;
        // Only files have data, whatever the size field of another type says: Go's reading, which the engines share.
        let stored = if kind == Kind::File { numbers.size } else { 0 };
        self.left = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
        let mut entry = Entry {
            name,
            kind,
            mode: numbers.mode,
            uid: numbers.uid,
            gid: numbers.gid,
            mtime: numbers.mtime,
            size: stored,
            xattrs: std::mem::take(&mut pax.xattrs).into_iter().collect(),
            extents: None,
        };
        if entry.kind == Kind::File {
            self.read_sparse(&mut entry, header, &mut pax, start)?;
        }
        Ok(entry)
    }

    fn read_sparse(
        &mut self,
        entry: &mut Entry,
        header: &tar::Header,
        pax: &mut Overrides,
        start: u64,
    ) -> Result<(), TarError> {
        let (size, extents) = match pax.sparse.version() {
            Some(version) => {
                let extents = match version {
                    Version::InHeader => std::mem::take(&mut pax.sparse.map),
                    Version::InData => self.read_map(start)?,
                };
                (pax.sparse.real_size.unwrap_or(entry.size), extents)
            }
            None if header.as_old().linkflag[0] == b'S' => self.read_gnu_sparse(header, start)?,
            None => return Ok(()),
        };
        sparse::check(&extents, size, self.left).map_err(|why| self.bad(start, why))?;
        entry.size = size;
        entry.extents = Some(extents);
        Ok(())
    }

    fn read_gnu_sparse(
        &mut self,
        header: &tar::Header,
        start: u64,
    ) -> Result<(u64, Vec<Extent>), TarError> {
        let malformed = "its sparse header is malformed";
        let gnu = header.as_gnu().ok_or_else(|| self.bad(start, malformed))?;
        let size = number::parse(&gnu.realsize).and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| self.bad(start, malformed))?;
        let mut extents = Vec::new();
        sparse::parse_gnu(&gnu.sparse, &mut extents).ok_or_else(|| self.bad(start, malformed))?;
        let mut more = gnu.isextended[0] == 1;
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            self.read_exact_or_fail(block.as_mut_bytes())?;
            sparse::parse_gnu(&block.sparse, &mut extents)
                .ok_or_else(|| self.bad(start, malformed))?;
            self.check_extents(&extents, start)?;
            more = block.isextended[0] == 1;
        }
        Ok((size, extents))
    }

    /// The map of PAX sparse version 1.0: decimal lines at the start of the data, padded to a block.
    fn read_map(&mut self, start: u64) -> Result<Vec<Extent>, TarError> {
        let before = self.left;
        let count = self.read_line(start)?;
        let mut extents = Vec::new();
        for _ in 0..count {
            let offset = self.read_line(start)?;
            extents.push(Extent { offset, length: self.read_line(start)? });
            self.check_extents(&extents, start)?;
        }
        let used = before - self.left;
        let rest = used.next_multiple_of(BLOCK as u64) - used;
        if rest > self.left {
            return Err(self.bad(start, "its sparse map is cut off"));
        }
        for _ in 0..rest {
            self.read_byte(start)?;
        }
        Ok(extents)
    }

    fn check_extents(&self, extents: &[Extent], start: u64) -> Result<(), TarError> {
        if extents.len() <= self.limits.extents {
            return Ok(());
        }
        let why = format!("it has more than {} runs of data", self.limits.extents);
        Err(self.bad(start, &why))
    }

    fn read_line(&mut self, start: u64) -> Result<u64, TarError> {
        let mut digits = Vec::new();
        loop {
            match self.read_byte(start)? {
                b'\n' => break,
                byte if digits.len() < 20 => digits.push(byte),
                _ => return Err(self.bad(start, "its sparse map is malformed")),
            }
        }
        number::parse_decimal(&digits).ok_or_else(|| self.bad(start, "its sparse map is malformed"))
    }

    fn read_byte(&mut self, start: u64) -> Result<u8, TarError> {
        let Some(byte) = self.chunk()?.first().copied() else {
            return Err(self.bad(start, "its sparse map is cut off"));
        };
        self.consume(1);
        Ok(byte)
    }

    fn read_long(&mut self, header: &tar::Header, start: u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.read_extension(header, start, self.limits.name + 1)?;
        name.truncate(until_nul(&name).len());
        Ok(name)
    }

    /// The data of an extended header, with its padding.
    fn read_extension(
        &mut self,
        header: &tar::Header,
        start: u64,
        limit: usize,
    ) -> Result<Vec<u8>, TarError> {
        let size = number::parse(&header.as_old().size).and_then(|n| usize::try_from(n).ok());
        let size = size.ok_or_else(|| self.bad(start, "its size is not a number"))?;
        if size > limit {
            let why = format!("an extended header of {size} bytes; at most {limit} are allowed");
            return Err(self.bad(start, &why));
        }
        let mut data = vec![0; size.next_multiple_of(BLOCK)];
        self.read_exact_or_fail(&mut data)?;
        data.truncate(size);
        Ok(data)
    }

    /// A header block; `None` at the end, which is a block of zeros or a stream that ends where a header would start.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        if self.finished {
            return Ok(None);
        }
        let at_end = loop {
            match self.input.fill_buf() {
                Ok(buffer) => break buffer.is_empty(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source)),
            }
        };
        let mut block = [0; BLOCK];
        if !at_end {
            self.read_exact_or_fail(&mut block)?;
        }
        self.finished = at_end || block == [0; BLOCK];
        Ok((!self.finished).then_some(block))
    }

    fn read_exact_or_fail(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        self.input.read_exact(buffer).map_err(|source| self.failed(source))?;
        self.offset += buffer.len() as u64;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        self.left += self.padding;
        self.padding = 0;
        loop {
            let n = self.chunk()?.len();
            if n == 0 {
                return Ok(());
            }
            self.consume(n);
        }
    }

    fn failed(&self, source: io::Error) -> TarError {
        TarError::Read { entry: self.name.as_deref().map(printable), source }
    }

    fn bad(&self, offset: u64, why: &str) -> TarError {
        TarError::Header { entry: self.name.as_deref().map(printable), offset, why: why.to_owned() }
    }
}

/// The data of the current entry.
impl<R: BufRead> Read for TarReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let chunk = self.chunk().map_err(io::Error::other)?;
        let n = chunk.len().min(buf.len());
        buf[..n].copy_from_slice(&chunk[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// Makes sure that the buffer has data; an end of the stream here is inside an entry's data.
fn fill(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        match input.fill_buf() {
            Ok([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

struct Numbers {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Timespec,
    size: u64,
}

impl Numbers {
    fn read(header: &tar::Header, pax: &Overrides) -> Result<Self, String> {
        let old = header.as_old();
        let field = |name: &str, field: &[u8]| {
            number::parse(field).ok_or_else(|| format!("its {name} is not a number"))
        };
        let positive = |name: &str, bytes: &[u8]| {
            u64::try_from(field(name, bytes)?).map_err(|_| format!("its {name} is negative"))
        };
        let uid = pax.uid.map_or_else(|| positive("uid", &old.uid), Ok)?;
        let gid = pax.gid.map_or_else(|| positive("gid", &old.gid), Ok)?;
        let mtime = match pax.mtime {
            Some(time) => time,
            None => Timespec { tv_sec: field("mtime", &old.mtime)?, tv_nsec: 0 },
        };
        Ok(Self {
            mode: (field("mode", &old.mode)? & 0o7777) as u32,
            uid: parse_id("uid", uid)?,
            gid: parse_id("gid", gid)?,
            mtime,
            size: pax.size.map_or_else(|| positive("size", &old.size), Ok)?,
        })
    }
}

/// An id that `chown` takes: 2^32-1 means "leave it" there.
fn parse_id(name: &str, id: u64) -> Result<u32, String> {
    u32::try_from(id)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| format!("its {name} {id} is out of range"))
}

fn parse_kind(header: &tar::Header, name: &[u8], link: &[u8]) -> Result<Kind, String> {
    let target = || {
        if link.is_empty() { Err("it is a link without a target") } else { Ok(link.to_vec()) }
    };
    match header.as_old().linkflag[0] {
        // Before ustar a directory was a file whose name ends in a slash.
        0 if name.ends_with(b"/") => Ok(Kind::Directory),
        0 | b'0' | b'7' | b'S' => Ok(Kind::File),
        b'1' => Ok(Kind::HardLink(target()?)),
        b'2' => Ok(Kind::Symlink(target()?)),
        b'3' => device(header).map(|(major, minor)| Kind::CharDevice(major, minor)),
        b'4' => device(header).map(|(major, minor)| Kind::BlockDevice(major, minor)),
        b'5' => Ok(Kind::Directory),
        b'6' => Ok(Kind::Fifo),
        other => Err(format!("its type `{}` is not known", printable(&[other]))),
    }
}

fn device(header: &tar::Header) -> Result<(u32, u32), String> {
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => (ustar.dev_major, ustar.dev_minor),
        (_, Some(gnu)) => (gnu.dev_major, gnu.dev_minor),
        _ => return Err("it is a device in a format that has none".to_owned()),
    };
    let parse = |field: [u8; 8]| number::parse(&field).and_then(|n| u32::try_from(n).ok());
    parse(major).zip(parse(minor)).ok_or_else(|| "its device number is not valid".to_owned())
}

/// The sum counts the checksum field itself as spaces. Some old writers summed signed bytes.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), &'static str> {
    let recorded = number::parse(&block[148..156])
        .ok_or("its checksum is not a number: not a tar archive, or a damaged one")?;
    let bytes =
        || block.iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { b' ' } else { *b });
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|b| i64::from(b.cast_signed())).sum();
    if recorded == unsigned || recorded == signed {
        Ok(())
    } else {
        Err("its checksum is wrong: not a tar archive, or a damaged one")
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}
