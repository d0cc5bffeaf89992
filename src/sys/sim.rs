//! A disk made of memory that can lose power.
