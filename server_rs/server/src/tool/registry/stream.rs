use snakepit_core::{error::Error, value::Value};

use super::{Effect, News, Registry, state::Stage};
use crate::tool::call::{CallKey, DispatchKey, WorkerKey};

impl Registry {
    /// A worker sends a chunk. The error is what it did wrong.
    pub(crate) fn chunk(
        &mut self,
        from: WorkerKey,
        key: DispatchKey,
        sequence: u64,
        value: Value,
    ) -> Result<(), Error> {
        let Some(dispatch) = self.dispatches.get_mut(&key).filter(|dispatch| dispatch.worker == from) else {
            return Err(Error::invalid("chunk.dispatch", format!("{} is none that this worker has", key.0)));
        };
        if sequence != dispatch.next_chunk {
            let problem = format!("{sequence} is out of order: the next one is {}", dispatch.next_chunk);
            return Err(Error::invalid("chunk.sequence", problem));
        }
        if dispatch.credit == 0 {
            return Err(Error::invalid("chunk", "there is no credit for it; wait for ChunkCredit"));
        }
        dispatch.credit -= 1;
        dispatch.next_chunk += 1;
        if let Some(key) = dispatch.call {
            if let Some(call) = self.calls.get_mut(&key) {
                call.chunked = true;
            }
            self.tell(key, News::Chunk(value));
        }
        Ok(())
    }

    /// A caller has taken chunks: its worker may send as many more.
    pub(crate) fn taken(&mut self, call: CallKey, chunks: u32) {
        let Some(Stage::Running(key)) = self.calls.get(&call).map(|call| call.stage) else { return };
        let Some(dispatch) = self.dispatches.get_mut(&key) else { return };
        dispatch.credit += chunks;
        let worker = dispatch.worker;
        self.effects.push(Effect::Credit { worker, dispatch: key, chunks });
    }
}
