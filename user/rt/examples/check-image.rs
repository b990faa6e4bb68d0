//! Checks linked root programs against the rules for images: `cargo run -p rt --example check-image -- FILE…`
//!
//! Ends with a failure if a file breaks a rule. Concurrency: none.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut broken = false;
    for name in std::env::args().skip(1) {
        let verdict = match std::fs::read(&name) {
            Ok(file) => rt::image::check(&file).map_err(|defect| defect.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match verdict {
            Ok(()) => println!("{name}: good"),
            Err(why) => {
                println!("{name}: {why}");
                broken = true;
            }
        }
    }
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
