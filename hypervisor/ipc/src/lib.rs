//! What a message carries from one context to another: words between threads, registers between a fault and its handler.
//!
//! Purpose: the copying, as pure functions over message pages and register frames.
//! Invariants: nothing but what header or transfer descriptor name is copied; what a handler writes back can make the
//! context misbehave, never the kernel.
//! Concurrency: a page's owner may write it meanwhile; every word is read once, as an atomic.
//! Source: interface §4 and §5.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod message;
pub mod state;
