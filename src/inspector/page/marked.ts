// The call that was marked to be compared: an id, in this tab's memory.

let marked: string | null = null;

/** Marks a call; the one that is marked already is not any more. */
export function toggleMark(id: string): void {
  marked = marked === id ? null : id;
}

/** The call that is marked; null where none is. */
export function markedCall(): string | null {
  return marked;
}
