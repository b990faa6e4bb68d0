//! Where things lie in the guest's physical memory and among its ports.
//!
//! Invariants: what is listed here does not overlap.
//! Concurrency: constants.

/// Most memory: above lie windows of devices.
pub const MEMORY_MAX: u64 = 0xC000_0000;
/// End of the memory below the hole that PCs have.
pub const LOW_END: u64 = 0x9_FC00;
/// Start of the memory above it.
pub const HIGH_START: u64 = 0x10_0000;

/// The descriptor table that a guest starts with.
pub const GDT: u64 = 0x500;
/// Boot parameters of Linux, one page.
pub const BOOT_PARAMETERS: u64 = 0x7000;
/// Tables of the paging that Linux starts with: 6 pages.
pub const PAGE_TABLES: u64 = 0x9000;
/// The command line.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// Longest command line.
pub const COMMAND_LINE_MAX: usize = 0x0FFF;
/// ACPI tables, in memory that the map calls reserved.
pub const TABLES: u64 = 0xE_0000;
/// Their room.
pub const TABLES_SIZE: u64 = 0x2_0000;

/// Windows of PCI devices in memory.
pub const PCI_WINDOW: u64 = 0xD000_0000;
/// Its size.
pub const PCI_WINDOW_SIZE: u64 = 0x1000_0000;
/// Configuration space of bus 0 in memory.
pub const PCI_CONFIG: u64 = 0xE000_0000;
/// Windows of PCI devices among the ports.
pub const PCI_PORTS: u16 = 0xC000;
/// How many.
pub const PCI_PORTS_SIZE: u16 = 0x2000;

/// Interrupt of the first of four lines of PCI devices.
pub const PCI_INTERRUPT: u8 = 16;
/// Interrupt of the serial port.
pub const UART_INTERRUPT: u8 = 4;
/// First port of the serial port.
pub const UART: u16 = 0x3F8;
/// Interrupt of the clock.
pub const RTC_INTERRUPT: u8 = 8;
/// The system control interrupt.
pub const SYSTEM_INTERRUPT: u8 = 9;
/// Pin of the I/O APIC that the timer's interrupt 0 is at.
pub const TIMER_PIN: u8 = 2;
