mod apply;
#[cfg(unix)]
mod narrow;
#[cfg(unix)]
mod progress;
mod reference;
mod session;
mod status;
#[cfg(unix)]
mod terminal;
mod tool;
mod var;
