//! What SQLite does not say about its write-ahead log. It reads the log up to the first frame with a wrong checksum and
//! takes that for the end: right for a torn tail, and silent about every acknowledged write behind a flipped bit. So the
//! log is walked before SQLite opens it.
//!
//! # Invariants
//!
//! 1. *A commit group is synced before the next begins* (`synchronous=full`, one writer). A power cut therefore tears the
//!    last group only, and every frame behind that group's commit frame was written on top of a synced one.
//! 2. So a frame is **corruption** if a later group follows it: there is a commit frame at or behind it whose successor
//!    continues its checksum. Checksums are a chain, each begins with the one stored before it, so a frame can be checked
//!    against the stored one although the chain is broken further up. Everything else is a **torn tail**: a torn group may
//!    hold valid frames behind torn ones, and its commit frame, but nothing that continues that frame.
//! 3. A bad frame's own header says whether it was a commit frame only if its salts are right and it lies within one
//!    sector: sectors arrive whole, so such a header is as it was written.
//! 4. What a rolled-back transaction has left behind does not count: a full disk stops it before its commit frame, and
//!    what a later group has overwritten in front of it no longer continues.
//! 5. *The mark never runs ahead of the log.* `journal.db-mark` names the log (by its salts) and how many of its frames a
//!    sync has covered. It is written after each commit and synced once in a process, so a crash of the machine may leave
//!    an older one, which claims less. It claims nothing, durably, before the log is emptied. So a log that is shorter
//!    than its mark, or not there, was cut: corruption, even where 2 sees none.
//!
//! A log with other salts than the mark's has begun anew since, which SQLite does after a checkpoint, and the mark claims
//! nothing of it. <https://www.sqlite.org/fileformat2.html#the_write_ahead_log> has the format.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, Write as _},
    path::Path,
};

use snakepit_fault::injected;

use super::{
    Loss, OpenError,
    directory::{self, LOG, MARK},
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const SECTOR: u64 = 512;
/// What a log begins with; the last bit is set if its checksums read big-endian words.
const MAGIC: u32 = 0x377f_0682;
const MARK_MAGIC: &[u8; 8] = b"snakemrk";
const MARK_SIZE: usize = 28;
/// A server may write meanwhile: a log that is read in the middle of a write is read again.
const ATTEMPTS: usize = 20;

type Salts = [u8; 8];
type Sum = (u32, u32);

/// How many frames of which log are certainly there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    salts: Salts,
    frames: u64,
}

impl Claim {
    const NOTHING: Self = Self { salts: [0; 8], frames: 0 };

    fn encode(self) -> [u8; MARK_SIZE] {
        let mut bytes = [0; MARK_SIZE];
        bytes[..8].copy_from_slice(MARK_MAGIC);
        bytes[8..16].copy_from_slice(&self.salts);
        bytes[16..24].copy_from_slice(&self.frames.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..24]);
        bytes[24..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The claim in a directory. One that cannot be read claims nothing: its name may have outlived its content.
    fn read(directory: &Path) -> Self {
        let Ok(bytes) = std::fs::read(directory.join(MARK)) else { return Self::NOTHING };
        let whole = bytes.len() == MARK_SIZE
            && &bytes[..8] == MARK_MAGIC
            && bytes[24..] == crc32fast::hash(&bytes[..24]).to_le_bytes();
        if !whole {
            return Self::NOTHING;
        }
        let (mut salts, mut frames) = ([0; 8], [0; 8]);
        salts.copy_from_slice(&bytes[8..16]);
        frames.copy_from_slice(&bytes[16..24]);
        Self { salts, frames: u64::from_le_bytes(frames) }
    }
}

/// The mark of a journal that this process writes.
#[derive(Debug)]
pub(super) struct Mark {
    /// None if there is no use in it: it could not be opened or written, and what is in it stays true.
    files: Option<(File, File)>,
    synced: bool,
}

impl Mark {
    /// The mark of the journal in a directory, whose log is there. Without one a server works as well; it notices less.
    pub(super) fn open(directory: &Path) -> Self {
        let open = || -> io::Result<(File, File)> {
            let mark = directory::private().create(true).truncate(false).open(directory.join(MARK))?;
            Ok((mark, File::open(directory.join(LOG))?))
        };
        let files = open().inspect_err(|error| {
            tracing::warn!(%error, "the mark of the log cannot be kept; a log that is cut off will look like a torn one");
        });
        Self { files: files.ok(), synced: false }
    }

    /// A commit was synced; the log then had so many frames.
    pub(super) fn committed(&mut self, frames: u64) {
        let Some((mark, log)) = self.files.as_mut().filter(|_| frames > 0) else { return };
        let mut write = || -> io::Result<()> {
            let mut header = [0; HEADER];
            log.rewind()?;
            log.read_exact(&mut header)?;
            let mut salts = [0; 8];
            salts.copy_from_slice(&header[16..24]);
            put(mark, Claim { salts, frames })?;
            // Once, so that a log that is gone is missed from now on. It need not be the newest claim that survives.
            if !self.synced {
                mark.sync_data()?;
                self.synced = true;
            }
            Ok(())
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "the mark of the log cannot be written; a log that is cut off will look like a torn one");
            self.files = None;
        }
    }

    /// Claims nothing any more; says whether that is durable. Only then may the log be emptied.
    pub(super) fn clear(&mut self) -> bool {
        let Some((mark, _)) = &mut self.files else { return false };
        put(mark, Claim::NOTHING).and_then(|()| mark.sync_data()).is_ok()
    }
}

fn put(mark: &mut File, claim: Claim) -> io::Result<()> {
    mark.rewind()?;
    mark.write_all(&claim.encode())
}

/// What is lost of the log in a directory; nothing is written. A server may be writing it: then what is found twice in
/// the same log is so, and nothing else.
pub(super) fn losses(directory: &Path) -> Result<Vec<Loss>, OpenError> {
    let failed = |error| OpenError::Directory { directory: directory.into(), error };
    let mut before = None;
    for _ in 0..ATTEMPTS {
        // The mark first: the log is then at least as long as it says.
        let claim = Claim::read(directory);
        let header = header(directory);
        let Some(problem) = problem(directory, claim).map_err(failed)? else { return Ok(Vec::new()) };
        let found = Some((claim, header, problem));
        if found == before {
            break;
        }
        before = found;
    }
    Ok(before.map(|(.., problem)| Loss { session: None, problem }).into_iter().collect())
}

/// What a log begins with; another log has another.
fn header(directory: &Path) -> Option<[u8; HEADER]> {
    let mut header = [0; HEADER];
    File::open(directory.join(LOG)).and_then(|mut log| log.read_exact(&mut header)).ok().map(|()| header)
}

/// Refuses a journal whose log is not whole.
pub(super) fn check(directory: &Path) -> Result<(), OpenError> {
    let losses = losses(directory)?;
    if losses.is_empty() { Ok(()) } else { Err(OpenError::Damaged { directory: directory.into(), losses }) }
}

/// What is wrong with the log, for people.
fn problem(directory: &Path, claim: Claim) -> io::Result<Option<String>> {
    const SINCE: &str = "the acknowledged writes since the last checkpoint are lost";
    let claimed = claim.frames > 0;
    let log = match File::open(directory.join(LOG)) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(claimed.then(|| format!("the write-ahead log {LOG} is missing: {SINCE}")));
        }
        Err(error) => return Err(error),
    };
    let length = log.metadata()?.len();
    if length < HEADER as u64 {
        return Ok(claimed.then(|| format!("the write-ahead log {LOG} has only {length} bytes left: {SINCE}")));
    }
    let walked = walk(&mut BufReader::with_capacity(1 << 16, log), length)?;
    let short = claimed && (!walked.known || walked.salts == claim.salts) && walked.whole < claim.frames;
    if !walked.followed && !short || injected!(TrustTheLog) {
        return Ok(None);
    }
    let at = HEADER as u64 + walked.whole * walked.frame_size;
    let lost = walked.behind.max(1);
    let writes = if lost == 1 { "1 group".to_owned() } else { format!("{lost} groups") };
    Ok(Some(match (walked.known, walked.bad) {
        (false, _) => format!("the header of the write-ahead log {LOG} is damaged: {SINCE}"),
        (true, true) => format!(
            "the write-ahead log {LOG} is damaged after byte {at}: at least {writes} of acknowledged writes are lost"
        ),
        (true, false) => {
            format!("the write-ahead log {LOG} is cut off at byte {length}: acknowledged writes behind it are lost")
        }
    }))
}

/// What was found in a log.
#[derive(Debug, Default)]
struct Walked {
    /// Whether its header is whole.
    known: bool,
    salts: Salts,
    frame_size: u64,
    /// The frames up to the last commit that SQLite finds.
    whole: u64,
    /// Whether a frame of this log behind those cannot be used.
    bad: bool,
    /// Whether a later group follows the first bad frame.
    followed: bool,
    /// The commits behind `whole` that can still be told.
    behind: u64,
}

fn walk(log: &mut impl Read, length: u64) -> io::Result<Walked> {
    let mut header = [0; HEADER];
    log.read_exact(&mut header)?;
    let big = word(&header, 0) & 1 == 1;
    let mut stored = (word(&header, 24), word(&header, 28));
    let page = word(&header, 8);
    let known = word(&header, 0) & !1 == MAGIC && sum(big, (0, 0), &[&header[..24]]) == stored;
    let page = if (512..=65_536).contains(&page) && page.is_power_of_two() { page as usize } else { 4_096 };
    let frame_size = (FRAME_HEADER + page) as u64;
    let mut found = Walked { known, frame_size, ..Walked::default() };
    found.salts.copy_from_slice(&header[16..24]);
    let (mut chain, mut after_commit) = (known, false);
    let mut frame = vec![0; FRAME_HEADER + page];
    for number in 0..(length - HEADER as u64) / frame_size {
        match log.read_exact(&mut frame) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        let (head, data) = frame.split_at(FRAME_HEADER);
        let ours = head[8..16] == found.salts;
        let own = (word(head, 16), word(head, 20));
        let valid = ours && word(head, 0) != 0 && sum(big, stored, &[&head[..8], data]) == own;
        let is_commit = word(head, 4) != 0;
        chain &= valid;
        if chain {
            if is_commit {
                found.whole = number + 1;
            }
        } else {
            found.bad |= ours && !valid;
            found.followed |= valid && after_commit;
            let at = (HEADER as u64 + number * frame_size) % SECTOR;
            let head_is_whole = ours && at + 16 <= SECTOR;
            after_commit = is_commit && (valid || head_is_whole);
            found.behind += u64::from(after_commit);
        }
        stored = own;
    }
    Ok(found)
}

/// A word as the log's own fields have it.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// SQLite's checksum of some bytes, from another one on.
fn sum(big: bool, (mut first, mut second): Sum, parts: &[&[u8]]) -> Sum {
    let number = |bytes: &[u8]| {
        let word = bytes.try_into().unwrap_or_default();
        if big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    };
    for pair in parts.iter().flat_map(|part| part.chunks_exact(8)) {
        first = first.wrapping_add(number(&pair[..4])).wrapping_add(second);
        second = second.wrapping_add(number(&pair[4..])).wrapping_add(first);
    }
    (first, second)
}
