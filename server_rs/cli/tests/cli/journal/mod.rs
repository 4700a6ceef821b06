pub mod data;
pub mod disk;
mod golden;
mod imports;
mod lost;
