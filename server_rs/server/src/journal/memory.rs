use super::{Append, CommitError, Durability, Home};

/// Keeps nothing beyond the sessions themselves, which live in memory: `snakepit serve --ephemeral`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Home for Memory {
    fn durability(&self) -> Durability {
        Durability::Ephemeral
    }

    async fn commit(&mut self, _group: &[Append]) -> Result<(), CommitError> {
        Ok(())
    }
}
