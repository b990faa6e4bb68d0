//! Purpose: the rules of the mapping tree.
mod joining;
mod model;
mod rules;
mod scale;
mod state;
mod world;
