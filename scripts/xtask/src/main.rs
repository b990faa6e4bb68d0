//! Builds, boots, tests and checks Vela.
fn main() {}
