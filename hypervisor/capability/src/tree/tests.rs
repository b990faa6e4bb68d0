//! Purpose: the rules of the mapping tree.
mod constraints;
mod crowds;
mod derived;
mod foreign;
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
