//! Purpose: the rules of the mapping tree.
mod constraints;
mod derived;
mod joining;
mod limits;
mod model;
mod overmap;
mod rows;
mod rules;
mod scale;
mod short;
mod state;
mod world;
