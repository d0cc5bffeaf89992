//! Commands, their paths and parameters.
