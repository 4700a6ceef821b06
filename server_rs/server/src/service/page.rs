use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use snakepit_core::error::Error;
use snakepit_proto::Refusal;

/// A page or part closes before it would grow beyond this: a client with gRPC's default limit of 4 MiB can read it
/// unless a single item is bigger.
pub(super) const PAGE_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;

const DEFAULT_SIZE: u32 = 100;
const MAX_SIZE: u32 = 1_000;

/// A request for a page of a list that is ordered by a key.
#[derive(Debug)]
pub(super) struct Page {
    size: usize,
    /// The key after which the page begins.
    pub(super) after: Option<String>,
}

impl Page {
    pub(super) fn parse(size: u32, token: &str) -> Result<Self, Refusal> {
        if size > MAX_SIZE {
            return Err(Error::invalid(
                "page_size",
                format!("takes 1 to {MAX_SIZE}, or 0 for {DEFAULT_SIZE}, got {size}"),
            )
            .into());
        }
        let size = if size == 0 { DEFAULT_SIZE } else { size };
        let after = if token.is_empty() {
            None
        } else {
            let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad_token())?;
            Some(String::from_utf8(bytes).map_err(|_| bad_token())?)
        };
        Ok(Self { size: size as usize, after })
    }

    /// The items of this page and the token of the next one, empty if there is none.
    pub(super) fn fill<T: Message>(&self, items: impl Iterator<Item = (String, T)>) -> (Vec<T>, String) {
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, String::new());
        for (key, item) in items {
            bytes += item.encoded_len();
            if page.len() == self.size || (bytes > PAGE_BYTES && !page.is_empty()) {
                return (page, URL_SAFE_NO_PAD.encode(last));
            }
            page.push(item);
            last = key;
        }
        (page, String::new())
    }
}

/// The token is none that this list has given.
pub(super) fn bad_token() -> Refusal {
    Error::invalid("page_token", "is not the next_page_token of a page of this list; start again without one").into()
}
