//! Instructions whose cost a count of instructions does not show, told from their bytes.
//!
//! Invariants: bytes of any kind give an event or none; only the first instruction is looked at.
//! Concurrency: pure.
//! Source: AMD64 manual volume 3, appendix A (opcode maps) and §1.2 (prefixes).

/// The event that the instruction at the start of `code` is, by its name in the results.
pub fn classify(code: &[u8]) -> Option<&'static str> {
    let is_prefix = |byte: &u8| matches!(byte, 0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3);
    let legacy = code.iter().take_while(|byte| is_prefix(byte)).count();
    let (prefixes, rest) = code.split_at(legacy);
    let opcode = match rest {
        [0x40..=0x4F, opcode @ ..] => opcode,
        opcode => opcode,
    };
    if prefixes.contains(&0xF0) {
        return Some("locked");
    }
    match *opcode {
        [0x0F, 0x22, modrm, ..] => match modrm >> 3 & 7 {
            0 => Some("cr0_writes"),
            3 => Some("cr3_writes"),
            4 => Some("cr4_writes"),
            _ => None,
        },
        [0x0F, 0x30, ..] => Some("msr_writes"),
        [0x0F, 0x32, ..] => Some("msr_reads"),
        [0x0F, 0x01, modrm, ..] => system(modrm),
        [0x0F, 0xAE, modrm, ..] => vector_or_fence(modrm, prefixes.contains(&0x66)),
        [0x0F, 0xC7, modrm, ..] if modrm < 0xC0 && (3..=5).contains(&(modrm >> 3 & 7)) => Some("xsave"),
        [0x0F, 0x78, ..] => Some("vmread"),
        [0x0F, 0x79, ..] => Some("vmwrite"),
        [0x0F, 0xA2, ..] => Some("cpuid"),
        [0xCF, ..] => Some("iret"),
        // An exchange with memory locks without being told.
        [0x86 | 0x87, modrm, ..] if modrm < 0xC0 => Some("locked"),
        _ => None,
    }
}

/// The group 0F 01.
fn system(modrm: u8) -> Option<&'static str> {
    match modrm {
        0xF8 => Some("swapgs"),
        0xC2 | 0xC3 | 0xD8 => Some("vmentry"),
        0..0xC0 if modrm >> 3 & 7 == 7 => Some("invlpg"),
        _ => None,
    }
}

/// The group 0F AE: vector state in memory, and fences, which have a register for an operand.
fn vector_or_fence(modrm: u8, operand_size: bool) -> Option<&'static str> {
    match (modrm < 0xC0, modrm >> 3 & 7) {
        (true, 0 | 4) => Some("xsave"),
        (true, 6) if !operand_size => Some("xsave"),
        (true, 1 | 5) => Some("xrstor"),
        (false, 5..=7) => Some("fences"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_known_by_its_bytes() {
        let cases: [(&[u8], Option<&str>); 18] = [
            (&[0x0F, 0x22, 0xD8], Some("cr3_writes")),
            (&[0x41, 0x0F, 0x22, 0xDF], Some("cr3_writes")),
            (&[0x0F, 0x22, 0xC0], Some("cr0_writes")),
            (&[0x0F, 0x20, 0xD8], None),
            (&[0x0F, 0x30], Some("msr_writes")),
            (&[0xF0, 0x48, 0x0F, 0xB1, 0x0F], Some("locked")),
            (&[0x48, 0x87, 0x07], Some("locked")),
            (&[0x87, 0xC1], None),
            (&[0x0F, 0x01, 0x38], Some("invlpg")),
            (&[0x0F, 0x01, 0xF8], Some("swapgs")),
            (&[0x48, 0x0F, 0xAE, 0x27], Some("xsave")),
            (&[0x48, 0x0F, 0xAE, 0x2F], Some("xrstor")),
            (&[0x66, 0x0F, 0xAE, 0x37], None),
            (&[0x0F, 0xAE, 0xE8], Some("fences")),
            (&[0x48, 0x0F, 0xC7, 0x27], Some("xsave")),
            (&[0x48, 0x0F, 0xC7, 0x0F], None),
            (&[0x48, 0xCF], Some("iret")),
            (&[0xF3, 0x48, 0xAB], None),
        ];
        for (code, expected) in cases {
            assert_eq!(classify(code), expected, "{code:02x?}");
        }
    }

    #[test]
    fn any_bytes_are_taken() {
        for length in 0..4 {
            for byte in 0..=255 {
                let _ = classify(&[byte; 4][..length]);
                let _ = classify(&[0x0F, byte, byte, byte][..length]);
            }
        }
    }
}
