//! The tokens of a file, as they are now.

use std::{
    fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Tokens;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// No token file is greater: some thousands of tokens take as much.
const MOST: u64 = 1024 * 1024;

/// A file of tokens that may change while they are used. Clones share it.
#[derive(Clone)]
pub struct TokenFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    tokens: watch::Sender<Arc<Tokens>>,
    seen: Mutex<Seen>,
}

/// What is known of the file's content.
struct Seen {
    /// What was taken, or refused, last.
    settled: Vec<u8>,
    /// What was there at the last look, if it is something else: it may be half written.
    fresh: Option<Vec<u8>>,
}

impl TokenFile {
    /// Reads the file; a sentence that says what is wrong with it otherwise.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, String> {
        let path = path.into();
        let content = read_token_file(&path)?;
        let tokens = parse(&path, &content)?;
        let seen = Mutex::new(Seen { settled: content, fresh: None });
        Ok(Self(Arc::new(Inner { path, tokens: watch::Sender::new(Arc::new(tokens)), seen })))
    }

    /// The tokens, now and whenever they change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Tokens>> {
        self.0.tokens.subscribe()
    }

    /// Reads the file again. If it cannot be used, the tokens stay as they are; an error says why.
    pub fn reload(&self) -> Result<(), String> {
        let content = read_token_file(&self.0.path)?;
        self.settle(content)
    }

    /// The file's content, off the runtime's threads: its disk may be slow, or gone.
    async fn look(&self) -> Result<Vec<u8>, String> {
        let path = self.0.path.clone();
        tokio::task::spawn_blocking(move || read_token_file(&path)).await.unwrap_or_else(|ended| Err(ended.to_string()))
    }

    fn settle(&self, content: Vec<u8>) -> Result<(), String> {
        let mut seen = self.0.seen.lock();
        let tokens = parse(&self.0.path, &content);
        (seen.settled, seen.fresh) = (content, None);
        let tokens = Arc::new(tokens?);
        // Under the lock, so that of two who read the file the tokens are the later one's. Who watches looks again only if
        // there is something to see.
        self.0.tokens.send_if_modified(|now| {
            let changed = **now != *tokens;
            *now = Arc::clone(&tokens);
            changed
        });
        Ok(())
    }

    /// Follows the file for as long as it is polled. A change is taken when two looks have seen the same, so that no
    /// half of a file is.
    pub(crate) async fn follow(&self) {
        let mut missing = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let content = match self.look().await {
                Ok(content) => content,
                Err(problem) => {
                    if !std::mem::replace(&mut missing, true) {
                        tracing::error!(%problem, "the tokens stay as they are");
                    }
                    continue;
                }
            };
            missing = false;
            if self.is_new_and_settled(&content) {
                self.log(self.settle(content));
            }
        }
    }

    /// Reads the file again, and logs how that went.
    pub async fn reload_and_log(&self) {
        let reloaded = match self.look().await {
            Ok(content) => self.settle(content),
            Err(problem) => Err(problem),
        };
        self.log(reloaded);
    }

    fn log(&self, reloaded: Result<(), String>) {
        match reloaded {
            Ok(()) => tracing::info!(tokens = self.0.tokens.borrow().len(), "read the token file again"),
            Err(problem) => tracing::error!(%problem, "the tokens stay as they are"),
        }
    }

    fn is_new_and_settled(&self, content: &[u8]) -> bool {
        let mut seen = self.0.seen.lock();
        if seen.settled == content {
            seen.fresh = None;
            return false;
        }
        let again = seen.fresh.as_deref() == Some(content);
        if !again {
            seen.fresh = Some(content.to_vec());
        }
        again
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenFile").field(&self.0.path).finish()
    }
}

/// The content of a token file, if it is a file and of a size that one may have. Does not wait for what is none: a pipe that
/// nobody writes to would never end, nor would a device.
pub fn read_token_file(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |problem: String| format!("the token file {} cannot be read: {problem}", path.display());
    let cannot = |error: std::io::Error| wrong(error.to_string());
    let is_a_file = |metadata: &fs::Metadata| {
        let kind = metadata.file_type();
        if kind.is_file() { Ok(()) } else { Err(wrong(format!("it is {}; give a file", described(kind)))) }
    };
    // Before it is opened, because opening does something to some devices; and after, because it may be another one by then.
    is_a_file(&fs::metadata(path).map_err(cannot)?)?;
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    }
    let file = options.open(path).map_err(cannot)?;
    is_a_file(&file.metadata().map_err(cannot)?)?;
    let mut content = Vec::new();
    file.take(MOST + 1).read_to_end(&mut content).map_err(cannot)?;
    if content.len() as u64 > MOST {
        return Err(wrong(format!("it has more than {MOST} bytes; take out the tokens that nobody uses")));
    }
    Ok(content)
}

fn described(kind: fs::FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a directory" } else { "no file" }
}

fn parse(path: &Path, content: &[u8]) -> Result<Tokens, String> {
    let wrong = |problem: &dyn fmt::Display| format!("the token file {} cannot be used: {problem}", path.display());
    let text = std::str::from_utf8(content).map_err(|_| wrong(&"it is not UTF-8 text"))?;
    Tokens::parse(text).map_err(|error| wrong(&error))
}
