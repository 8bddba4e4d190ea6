//! Values and rules that need nobody: no clock, no input, no output. Everything may use them; they use only each other.

pub mod text;
pub mod unsupported;
pub mod names;
pub mod fingerprint;
pub mod certificate;
pub mod bundle;
pub mod schedule;
pub mod budget;
pub mod problem;
pub mod resource;
pub mod held;
pub mod reaction;
pub mod setback;
pub mod wanted;
pub mod labels;
