//! Where a machine stands, from QEMU's monitor: its cores (`info registers -a`)
//! and its text screen, where GRUB complains.
//!
//! Invariants: what is not understood is left out. Concurrency: none, pure.

/// One core's state, as far as it helps to see why a machine does not go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreState {
    /// Number of the core in QEMU's count.
    pub core: u32,
    /// Instruction pointer.
    pub rip: u64,
    /// Current privilege level.
    pub cpl: u8,
    /// Whether the core sleeps in HLT (or waits for its start-up IPI).
    pub halted: bool,
}

/// Reads the monitor's answer; what is not understood is left out.
pub fn parse(registers: &str) -> Vec<CoreState> {
    let mut cores = Vec::new();
    for block in registers.split("CPU#").skip(1) {
        let field = |name: &str| {
            let (_, value) = block.split_once(name)?;
            let end = value.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(value.len());
            u64::from_str_radix(&value[..end], 16).ok()
        };
        let core = block.split_whitespace().next().and_then(|word| word.parse().ok());
        let rip = field("RIP=").or_else(|| field("EIP="));
        if let (Some(core), Some(rip), Some(cpl), Some(halted)) = (core, rip, field("CPL="), field("HLT=")) {
            cores.push(CoreState { core, rip, cpl: cpl as u8, halted: halted != 0 });
        }
    }
    cores
}

/// The states in words, running cores first, at most `limit`; `name` names an address.
pub fn report(cores: &[CoreState], limit: usize, name: impl Fn(u64) -> Option<String>) -> String {
    let mut cores: Vec<_> = cores.iter().collect();
    cores.sort_by_key(|state| state.halted);
    let mut text = String::new();
    for CoreState { core, rip, cpl, halted } in cores.iter().take(limit) {
        let doing = if *halted { "halted" } else { "runs" };
        let place = name(*rip).map(|place| format!(" = {place}")).unwrap_or_default();
        text += &format!("\n  core {core} {doing} in ring {cpl} at rip={rip:#x}{place}");
    }
    if cores.len() > limit {
        text += &format!("\n  and {} cores more", cores.len() - limit);
    }
    text
}

/// The monitor command that reads the text screen of 80 by 25 characters.
pub const SCREEN: &str = "xp /1000wx 0xb8000";

/// The lines of the text screen from the answer to [`SCREEN`], without empty ones.
pub fn screen(memory: &str) -> Vec<String> {
    let words = memory.lines().filter_map(|line| line.split_once(": ")).flat_map(|(_, words)| words.split(' '));
    let words = words.filter_map(|word| u32::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    // Each cell is a character and its colours.
    let cells = words.flat_map(|word| [word as u8, (word >> 16) as u8]);
    let text = cells.map(|byte| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { ' ' });
    let text: Vec<char> = text.collect();
    let lines = text.chunks(80).map(|line| line.iter().collect::<String>().trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\nCPU#0\nRAX=0 RBX=1\nRIP=ffffffff8100abcd RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\n\
                        \nCPU#1\nEAX=0\nEIP=0000fff0 EFL=00000002 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\n";

    #[test]
    fn both_forms_of_the_registers_are_read() {
        let first = CoreState { core: 0, rip: 0xffff_ffff_8100_abcd, cpl: 0, halted: true };
        let second = CoreState { core: 1, rip: 0xfff0, cpl: 3, halted: false };
        assert_eq!(parse(TEXT), [first, second]);
        assert_eq!(parse("unknown command"), []);
    }

    #[test]
    fn the_screen_is_read_line_by_line() {
        let mut memory = String::from("00000000000b8000: 0x07690748 0x07200721\n");
        for _ in 0..19 {
            memory += "00000000000b8010: 0x07200720 0x07200720\n";
        }
        assert_eq!(screen(&(memory.clone() + &memory)), ["Hi!", "Hi!"]);
        assert_eq!(screen("Cannot access memory"), [""; 0]);
    }

    #[test]
    fn running_cores_come_first_and_the_rest_is_counted() {
        let text = report(&parse(TEXT), 1, |rip| Some(format!("name of {rip:x}")));
        assert_eq!(text, "\n  core 1 runs in ring 3 at rip=0xfff0 = name of fff0\n  and 1 cores more");
    }
}
