//! Purpose: the rules of the mapping tree.
mod derived;
mod joining;
mod model;
mod rules;
mod scale;
mod state;
mod world;
