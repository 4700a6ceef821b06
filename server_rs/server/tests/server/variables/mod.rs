mod limits;
mod reads;
mod sync;
mod values;
mod watch_every;
mod watch_latest;
mod writes;
