//! Reads the file, applies `-o key=value`, checks the whole.
