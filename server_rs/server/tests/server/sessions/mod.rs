mod expiry;
mod lifecycle;
mod restarts;
mod stop;
