// fault WHAT: what a Rust program does with faults and panics.
use std::hint::black_box;
use std::panic;
use std::process::Command;
use std::thread;

fn deep(n: u64) -> u64 {
    let room = black_box([n; 64]);
    if n == u64::MAX { 0 } else { deep(n + 1) + room[(n % 64) as usize] }
}

fn null() {
    unsafe { black_box(std::ptr::null_mut::<i32>()).write_volatile(1) }
}

fn main() {
    println!("start");
    match std::env::args().nth(1).unwrap().as_str() {
        "overflow" => println!("{}", deep(1)),
        "overflow-in-thread" => drop(thread::spawn(|| println!("{}", deep(1))).join()),
        "null" => null(),
        "null-in-thread" => drop(thread::spawn(null).join()),
        "abort" => std::process::abort(),
        "panic" => panic!("no"),
        "caught" => println!("{}", panic::catch_unwind(|| panic!("caught")).is_err()),
        "panic-in-thread" => println!("{}", thread::spawn(|| panic!("there")).join().is_err()),
        "overflowed-number" => println!("{}", black_box(i32::MAX).checked_add(1).is_none()),
        "index" => println!("{}", [1, 2, 3][black_box(7)]),
        "child" => println!("{}", Command::new("sh").args(["-c", "kill -SEGV $$"]).status().unwrap()),
        "too-large" => println!("{}", black_box(Vec::<u8>::with_capacity(1 << 46)).capacity()),
        "exit" => std::process::exit(9),
        _ => {}
    }
    println!("end");
}
