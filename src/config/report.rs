//! Errors with file, line and caret.
