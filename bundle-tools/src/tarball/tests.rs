use std::io::{BufReader, Read};

use super::*;

fn entry(name: &[u8], kind: Kind) -> Entry {
    Entry {
        name: name.to_vec(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timespec::default(),
        size: 0,
        xattrs: Vec::new(),
        extents: None,
    }
}

fn write(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (entry, data) in entries {
        writer.append(entry, *data).unwrap();
    }
    writer.finish().unwrap()
}

fn read(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    // A small buffer, so that every boundary falls inside something.
    let input = BufReader::with_capacity(7, archive);
    let mut reader = TarReader::new(input, HeaderLimits::default());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut data = Vec::new();
        loop {
            let chunk = reader.chunk()?;
            if chunk.is_empty() {
                break;
            }
            data.extend_from_slice(chunk);
            let n = chunk.len();
            reader.consume(n);
        }
        entries.push((entry, data));
    }
    Ok(entries)
}

fn gnu_tar(args: &[&str], dir: &std::path::Path) -> Vec<u8> {
    let output = std::process::Command::new("tar").args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn every_field_survives_being_written_and_read() {
    let mut file = entry(b"a/\xff\xfe", Kind::File);
    file.mode = 0o4755;
    file.uid = 3_000_000;
    file.gid = 4_000_000_000;
    file.mtime = Timespec { tv_sec: -5, tv_nsec: 250_000_000 };
    file.size = 700;
    file.xattrs = vec![(b"user.x".to_vec(), b"1\n2=\0".to_vec())];
    let data = vec![7; 700];
    let long = entry(&vec![b'n'; 1000], Kind::Symlink(vec![b't'; 300]));
    let rest = [
        entry(b"d/", Kind::Directory),
        entry(b"h", Kind::HardLink(b"a/\xff\xfe".to_vec())),
        entry(b"c", Kind::CharDevice(1, 3)),
        entry(b"b", Kind::BlockDevice(259, 1_048_575)),
        entry(b"p", Kind::Fifo),
    ];
    let mut entries: Vec<(Entry, &[u8])> = vec![(file, &data), (long, b"")];
    entries.extend(rest.into_iter().map(|entry| (entry, &b""[..])));
    let back = read(&write(&entries)).unwrap();
    let back: Vec<(Entry, &[u8])> = back.iter().map(|(e, d)| (e.clone(), &d[..])).collect();
    assert_eq!(back, entries);
}

#[test]
fn the_same_entries_give_the_same_bytes() {
    let entries = [(entry(b"a", Kind::Directory), &b""[..])];
    assert_eq!(write(&entries), write(&entries));
}

#[test]
fn gnu_tar_reads_what_we_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = entry(b"file", Kind::File);
    file.size = 5;
    let name = vec![b'x'; 180];
    let archive = write(&[(file, b"hello"), (entry(&name, Kind::Symlink(name.clone())), b"")]);
    std::fs::write(dir.path().join("t.tar"), archive).unwrap();
    let listing = gnu_tar(&["-tvf", "t.tar"], dir.path());
    let listing = String::from_utf8(listing).unwrap();
    assert!(listing.contains(&"x".repeat(180)), "{listing}");
    assert!(listing.contains(" 5 1970-01-01"), "{listing}");
}

#[test]
fn sparse_files_of_every_encoding_keep_their_runs() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("sparse")).unwrap();
    for n in 0..60_u64 {
        std::os::unix::fs::FileExt::write_all_at(&file, b"data", n << 20).unwrap();
    }
    file.set_len(100 << 20).unwrap();
    for format in [
        &["--format=gnu", "-S"][..],
        &["--format=posix", "--sparse-version=0.0", "-S"],
        &["--format=posix", "--sparse-version=0.1", "-S"],
        &["--format=posix", "--sparse-version=1.0", "-S"],
    ] {
        let archive = gnu_tar(&[format, &["-cf", "-", "sparse"]].concat(), dir.path());
        assert!(archive.len() < 4 << 20, "{format:?}: tar found no holes");
        let (entry, data) = read(&archive).unwrap().pop().unwrap();
        assert_eq!(entry.name, b"sparse", "{format:?}");
        assert_eq!(entry.size, 100 << 20, "{format:?}");
        let extents = entry.extents.unwrap();
        let runs: Vec<&Extent> = extents.iter().filter(|e| e.length > 0).collect();
        assert_eq!(runs.len(), 60, "{format:?}");
        let length: u64 = extents.iter().map(|e| e.length).sum();
        assert_eq!(length, data.len() as u64, "{format:?}");
        assert_eq!(runs[59].offset, 59 << 20, "{format:?}");
        assert_eq!(&data[..4], b"data");
    }
}

#[test]
fn long_names_of_gnu_and_negative_times_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let deep = vec!["d".repeat(200); 5].join("/");
    std::fs::create_dir_all(dir.path().join(&deep)).unwrap();
    std::os::unix::fs::symlink(&deep, dir.path().join("link")).unwrap();
    let file = std::fs::File::create(dir.path().join("old")).unwrap();
    let before = std::time::UNIX_EPOCH - std::time::Duration::from_secs(86_400);
    file.set_modified(before).unwrap();
    for format in ["--format=gnu", "--format=posix"] {
        let archive = gnu_tar(&[format, "-cf", "-", &deep, "link", "old"], dir.path());
        let entries = read(&archive).unwrap();
        assert_eq!(entries[0].0.name, format!("{deep}/").as_bytes(), "{format}");
        assert_eq!(entries[1].0.kind, Kind::Symlink(deep.clone().into_bytes()), "{format}");
        assert_eq!(entries[2].0.mtime.tv_sec, -86_400, "{format}");
    }
}

#[test]
fn an_extended_header_that_claims_gigabytes_is_refused_unread() {
    for kind in [b'x', b'g', b'L', b'K'] {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().linkflag = [kind];
        header.set_size(8 << 30);
        header.set_cksum();
        let mut reader = TarReader::new(
            BufReader::new(header.as_bytes().chain(std::io::repeat(0))),
            HeaderLimits::default(),
        );
        let error = reader.next().unwrap_err().to_string();
        assert!(error.contains("extended header of 8589934592 bytes"), "{error}");
    }
}

#[test]
fn the_size_record_decides_where_the_next_header_is() {
    // A reader that takes the header's size here would see the data as a header (CVE-2025-62518).
    let mut inner = entry(b"smuggled", Kind::File);
    inner.size = 0;
    let smuggled = write(&[(inner, b"")]);
    let mut outer = entry(b"outer", Kind::File);
    outer.size = smuggled.len() as u64;
    let mut archive = write(&[(outer, &smuggled)]);
    let mut records = Vec::new();
    pax::push_record(&mut records, b"size", smuggled.len().to_string().as_bytes());
    let mut extended = tar::Header::new_ustar();
    extended.as_old_mut().linkflag = [b'x'];
    extended.set_size(records.len() as u64);
    extended.set_cksum();
    let mut header = *tar::Header::from_byte_slice(&archive[..BLOCK]).as_bytes();
    header[124..136].copy_from_slice(b"00000000000\0");
    let mut fixed = tar::Header::from_byte_slice(&header).clone();
    fixed.set_cksum();
    archive[..BLOCK].copy_from_slice(fixed.as_bytes());
    records.resize(BLOCK, 0);
    let archive = [&extended.as_bytes()[..], &records, &archive].concat();
    let entries = read(&archive).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].1, smuggled);
}

#[test]
fn ids_that_chown_would_misread_are_refused() {
    for (key, value) in [("uid", "4294967295"), ("gid", "4294967296"), ("uid", "-1")] {
        let mut records = Vec::new();
        pax::push_record(&mut records, key.as_bytes(), value.as_bytes());
        let mut extended = tar::Header::new_ustar();
        extended.as_old_mut().linkflag = [b'x'];
        extended.set_size(records.len() as u64);
        extended.set_cksum();
        records.resize(BLOCK, 0);
        let plain = write(&[(entry(b"f", Kind::File), b"")]);
        let archive = [&extended.as_bytes()[..], &records, &plain].concat();
        assert!(read(&archive).is_err(), "{key}={value}");
    }
}

#[test]
fn a_damaged_or_truncated_archive_names_the_entry_or_the_place() {
    let mut file = entry(b"some/file", Kind::File);
    file.size = 2000;
    let archive = write(&[(file, &[1; 2000])]);
    let error = read(&archive[..1000]).unwrap_err().to_string();
    assert_eq!(error, "entry `some/file`: unexpected end of data");
    let error = read(b"not a tar archive").unwrap_err().to_string();
    assert_eq!(error, "unexpected end of data");
    let error = read(&[b'x'; 600]).unwrap_err().to_string();
    assert!(error.starts_with("header at byte 0: its checksum is"), "{error}");
}

#[test]
fn names_in_messages_are_one_line_without_control_characters() {
    assert_eq!(printable(b"a\n\x1b[31m\xff"), "a\\n\\u{1b}[31m\\xff");
    assert!(printable(&vec![b'a'; 5000]).len() < 300);
}
