mod expiry;
mod lifecycle;
mod stop;
