//! Prints what the wake-up queues of the lectures and that of the kernel cost: `cargo run -p models --bin timeouts`.
use models::compare::run;
use models::workload::{Mixture, steps};
use models::{LISTS, TICK, designs, lecture};

fn main() {
    println!(
        "Lecture: {LISTS} lists, {TICK} ms, {} threads: {} entries per second inspected,",
        lecture::THREADS,
        lecture::inspected_per_second(lecture::THREADS)
    );
    let messages = lecture::messages_per_second(lecture::inspected_per_second(lecture::THREADS));
    println!(
        "with {messages} messages per second, which take {} % of the time.\n",
        lecture::message_share(messages) / 10_000
    );
    println!("Entries touched per operation (average, most), 10 s, half of the threads wait for 1 s to 12 days,");
    println!("the others make 50 calls with a timeout per tick (12 500 per second):\n");
    println!("threads design             insert           remove             tick      entries per second");
    for threads in [lecture::THREADS as usize, lecture::MANY_THREADS as usize] {
        let mixture = Mixture { threads, waiting: threads / 2, calls: 50, ticks: 2500, longest: 30 };
        let steps = steps(mixture, 1);
        for mut design in designs(threads) {
            let outcome = run(design.as_mut(), &steps);
            let total = outcome.entries() * 1000 / (mixture.ticks * TICK);
            let [insert, remove, tick] = [outcome.insert, outcome.remove, outcome.tick];
            println!("{threads:7} {:11} {insert}  {remove}  {tick}  {total:10}", outcome.name);
        }
        println!();
    }
}
