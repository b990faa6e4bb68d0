//! ACPI tables: what the guest's kernel learns about the machine.
//!
//! Invariants: all tables lie in the room that the layout has for them.
//! Concurrency: written before the guest runs.
//! Source: ACPI 6.4, chapters 5 "Software Programming Model" and 19 "ASL"; PCI Firmware Specification 3.2 (MCFG).

use alloc::vec;
use alloc::vec::Vec;

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Name, Package, Path, ResourceTemplate, Scope,
    ZERO,
};
use acpi_tables::facs::FACS;
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::{GenericAddress, Sdt};
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};
use vm_memory::Memory;

use crate::layout::{self, TABLES, TABLES_SIZE};

const OWNER: [u8; 6] = *b"VELA  ";
const TABLE: [u8; 8] = *b"VELAVM  ";
/// Level-triggered and active high, as an interrupt override says it.
const LEVEL_HIGH: u16 = 0xD;
/// Length of the FADT of version 6.
const FADT_LENGTH: u32 = 276;
/// FADT: WBINVD works, C1 is there, no sleep button, clock wakes not by these registers, timer of 32 bits, reset register,
/// no screen.
const FADT_FLAGS: u32 = 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 12;
/// FADT: there are devices of old, but neither keyboard controller nor VGA.
const BOOT_ARCHITECTURE: u16 = 1 | 1 << 2;

/// There is no room for the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

struct Tables<'a, M> {
    memory: &'a M,
    next: u64,
}

impl<M: Memory> Tables<'_, M> {
    /// Writes a table; its address.
    fn put(&mut self, bytes: &[u8]) -> Result<u64, NoRoom> {
        let at = self.next;
        let end = at + bytes.len() as u64;
        if end > TABLES + TABLES_SIZE || !self.memory.write(at, bytes) {
            return Err(NoRoom);
        }
        self.next = end.next_multiple_of(64);
        Ok(at)
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes as &mut dyn AmlSink);
    bytes
}

/// Writes the tables of a machine with `cpus` processors; the address that the guest has to be told.
///
/// # Errors
/// [`NoRoom`].
pub fn write(memory: &impl Memory, cpus: u32) -> Result<u64, NoRoom> {
    // The root pointer comes first: that is where it is looked for.
    let mut tables = Tables { memory, next: TABLES + 64 };
    let control = tables.put(&bytes(&FACS::new()))?;
    let definitions = tables.put(definitions(cpus).as_slice())?;
    let mut index = XSDT::new(OWNER, TABLE, 1);
    index.add_entry(tables.put(fixed(control, definitions).as_slice())?);
    index.add_entry(tables.put(processors(cpus).as_slice())?);
    let mut window = MCFG::new(OWNER, TABLE, 1);
    window.add_ecam(layout::PCI_CONFIG, 0, 0, 0);
    index.add_entry(tables.put(&bytes(&window))?);
    let index = tables.put(&bytes(&index))?;
    tables.next = TABLES;
    tables.put(&bytes(&Rsdp::new(OWNER, index)))
}

/// The FADT.
fn fixed(control: u64, definitions: u64) -> Sdt {
    use vm_power::{CONTROL, EVENT, RESET, TIMER};
    let mut table = Sdt::new(*b"FACP", FADT_LENGTH, 6, OWNER, TABLE, 1);
    table.write_u32(36, control as u32);
    table.write_u32(40, definitions as u32);
    table.write_u8(45, 4); // an enterprise server
    table.write_u16(46, layout::SYSTEM_INTERRUPT.into());
    for (at, port) in [(56, EVENT), (64, CONTROL), (76, TIMER)] {
        table.write_u32(at, port.into());
    }
    for (at, length) in [(88, 4), (89, 2), (91, 4)] {
        table.write_u8(at, length);
    }
    // Deeper sleep than C1 there is none.
    table.write_u16(96, 0xFFF);
    table.write_u16(98, 0xFFF);
    table.write_u8(108, 0x32); // the century's place in the clock's memory
    table.write_u16(109, BOOT_ARCHITECTURE);
    table.write_u32(112, FADT_FLAGS);
    table.write(116, GenericAddress::io_port_address::<u8>(RESET));
    table.write_u8(128, 6);
    table.write_u64(140, definitions);
    table.write(148, GenericAddress::io_port_address::<u32>(EVENT));
    table.write(172, GenericAddress::io_port_address::<u16>(CONTROL));
    table.write(208, GenericAddress::io_port_address::<u32>(TIMER));
    table
}

/// The MADT.
fn processors(cpus: u32) -> Sdt {
    let mut table = Sdt::new(*b"APIC", 44, 5, OWNER, TABLE, 1);
    table.write_u32(36, vm_lapic::BASE_ADDRESS as u32);
    table.write_u32(40, 1); // there is a pair of 8259A
    for cpu in 0..cpus as u8 {
        table.append_slice(&[0, 8, cpu, cpu, 1, 0, 0, 0]);
    }
    let [a, b, c, d] = (vm_ioapic::ADDRESS as u32).to_le_bytes();
    table.append_slice(&[1, 12, 0, 0, a, b, c, d, 0, 0, 0, 0]);
    table.append_slice(&[2, 10, 0, 0, layout::TIMER_PIN, 0, 0, 0, 0, 0]);
    let [low, high] = LEVEL_HIGH.to_le_bytes();
    table.append_slice(&[2, 10, 0, layout::SYSTEM_INTERRUPT, layout::SYSTEM_INTERRUPT, 0, 0, 0, low, high]);
    // Non-maskable interrupts come to input 1 of every processor.
    table.append_slice(&[4, 6, 0xFF, 0, 0, 1]);
    table
}

/// The DSDT: the processors, the bus, the serial port, the clock, and how to switch off.
fn definitions(cpus: u32) -> Sdt {
    let off = Package::new(vec![&vm_power::SLEEP_OFF, &vm_power::SLEEP_OFF, &ZERO, &ZERO]);
    let mut table = Sdt::new(*b"DSDT", 36, 6, OWNER, TABLE, 1);
    table.append_slice(&bytes(&Name::new("_S5_".into(), &off)));
    (0..cpus).for_each(|cpu| table.append_slice(&processor(cpu)));
    table.append_slice(&bus());
    let line = |number: u8| Interrupt::new(true, true, false, false, number.into());
    let (io, interrupt) = (IO::new(layout::UART, layout::UART, 0, 8), line(layout::UART_INTERRUPT));
    table.append_slice(&device("COM1", "PNP0501", &ResourceTemplate::new(vec![&io, &interrupt])));
    let (io, interrupt) = (IO::new(0x70, 0x70, 0, 2), line(layout::RTC_INTERRUPT));
    table.append_slice(&device("RTC_", "PNP0B00", &ResourceTemplate::new(vec![&io, &interrupt])));
    table
}

/// A processor. With it a guest chooses how it idles: one that expects to be woken soon leaves its timer alone.
fn processor(cpu: u32) -> Vec<u8> {
    let kind = Name::new("_HID".into(), &"ACPI0007");
    let number = Name::new("_UID".into(), &cpu);
    let name = alloc::format!("C{cpu:03}");
    let device = Device::new(Path::new(&name), vec![&kind, &number]);
    bytes(&Scope::new("_SB_".into(), vec![&device]))
}

fn device(name: &str, kind: &str, resources: &ResourceTemplate<'_>) -> Vec<u8> {
    let kind = Name::new("_HID".into(), &EISAName::new(kind));
    let resources = Name::new("_CRS".into(), resources);
    let device = Device::new(Path::new(name), vec![&kind, &resources]);
    bytes(&Scope::new("_SB_".into(), vec![&device]))
}

fn bus() -> Vec<u8> {
    let kind = Name::new("_HID".into(), &EISAName::new("PNP0A03"));
    let number = Name::new("_UID".into(), &ZERO);
    let buses = AddressSpace::new_bus_number(0_u16, 0_u16);
    let address = IO::new(vm_pci::PORTS, vm_pci::PORTS, 1, 8);
    let ports = AddressSpace::new_io(layout::PCI_PORTS, layout::PCI_PORTS + (layout::PCI_PORTS_SIZE - 1), None);
    let (first, last) = (layout::PCI_WINDOW as u32, (layout::PCI_WINDOW + layout::PCI_WINDOW_SIZE - 1) as u32);
    let memory = AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None);
    let resources = ResourceTemplate::new(vec![&buses, &address, &ports, &memory]);
    let resources = Name::new("_CRS".into(), &resources);
    // Pin A of device n is at line n modulo 4.
    let routes: Vec<_> = (0..vm_pci::DEVICES as u32)
        .map(|device| (device << 16 | 0xFFFF, layout::PCI_INTERRUPT + (device % 4) as u8))
        .collect();
    let routes: Vec<_> = routes.iter().map(|(device, line)| Package::new(vec![device, &ZERO, &ZERO, line])).collect();
    let routes = Package::new(routes.iter().map(|route| route as &dyn Aml).collect());
    let routes = Name::new("_PRT".into(), &routes);
    let device = Device::new("PCI0".into(), vec![&kind, &number, &resources, &routes]);
    bytes(&Scope::new("_SB_".into(), vec![&device]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::TestMemory;

    fn table(memory: &TestMemory, at: u64) -> Vec<u8> {
        let mut bytes = vec![0; memory.read_u32(at + 4).unwrap_or(0) as usize];
        assert!(memory.read(at, &mut bytes));
        bytes
    }

    #[test]
    fn every_table_is_found_from_the_root_pointer_and_adds_up() {
        let memory = TestMemory::new(0x10_0000);
        assert_eq!(write(&memory, 4), Ok(TABLES));
        let mut pointer = [0; 36];
        assert!(memory.read(TABLES, &mut pointer));
        assert!(pointer.starts_with(b"RSD PTR "));
        let index = table(&memory, memory.read_u64(TABLES + 24).unwrap_or(0));
        let mut names = vec![];
        for entry in index[36..].chunks_exact(8) {
            let at = entry.try_into().map_or(0, u64::from_le_bytes);
            let table = table(&memory, at);
            assert_eq!(table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
            names.push(String::from_utf8_lossy(&table[..4]).into_owned());
        }
        assert_eq!(names, ["FACP", "APIC", "MCFG"]);
    }

    #[test]
    fn without_room_there_are_no_tables() {
        assert_eq!(write(&TestMemory::new(0xE_0100), 1), Err(NoRoom));
    }
}
