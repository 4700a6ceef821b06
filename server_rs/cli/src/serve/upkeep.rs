use clap::builder::RangedU64ValueParser;
use snakepit_core::config::Upkeep;

/// When the journal on disk tidies itself up. Nothing of what it keeps depends on it; tests have it done all the time.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Upkeep")]
pub(crate) struct UpkeepFlags {
    /// Events of a session after which it is folded into rows [default: 1000].
    #[arg(long, env = "SNAKEPIT_FOLD_EVENTS", value_name = "N", hide_short_help = true, value_parser = above_0())]
    fold_events: Option<usize>,
    /// Pages of 4 KiB in the write-ahead log after which it is copied into the tables [default: 1000].
    #[arg(long, env = "SNAKEPIT_CHECKPOINT_PAGES", value_name = "N", hide_short_help = true, value_parser = pages())]
    checkpoint_pages: Option<u64>,
}

impl UpkeepFlags {
    /// What holds where they are not given.
    pub(crate) fn defaults() -> Vec<(&'static str, u64)> {
        let upkeep = Upkeep::default();
        vec![("fold_events", upkeep.fold_events as u64), ("checkpoint_pages", upkeep.checkpoint_pages)]
    }
}

fn above_0() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

// So many that four times as many can still be counted.
fn pages() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(1..=1_000_000_000)
}

impl From<&UpkeepFlags> for Upkeep {
    fn from(flags: &UpkeepFlags) -> Self {
        let default = Self::default();
        Self {
            fold_events: flags.fold_events.unwrap_or(default.fold_events),
            checkpoint_pages: flags.checkpoint_pages.unwrap_or(default.checkpoint_pages),
            ..default
        }
    }
}
