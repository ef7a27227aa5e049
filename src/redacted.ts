// What stands in the place of a secret: a word, and no code that handles one.

/** What a secret shows wherever it is printed, serialised or interpolated. */
export const REDACTED = '[redacted]';
