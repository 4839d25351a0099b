"""What customers want: rules over text that need no engine."""
