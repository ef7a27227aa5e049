// What a view of the page is, and what it is given: types only. A view is one file, loaded when it is first opened; its
// row in the list of views says where.

import type { Live } from './live.ts';
import type { Place } from './place.ts';
import type { Session } from './session.ts';

/** A key of the keyboard. */
export interface Key {
  /** As the event names it: `j`, `ArrowDown`, `Enter`. Several do the same. */
  readonly keys: readonly string[];
  /** For the list of keys: `next call`. */
  readonly means: string;
  readonly run: () => void;
}

/** What views share. */
export interface App {
  readonly session: Session;
  readonly live: Live;
  /** Opens an address of this page, `#/calls/ID`; `replace` leaves no entry to come back to. */
  go(hash: string, replace?: boolean): void;
  /** The address of a view as it was shown last: its filter is still there when somebody comes back. */
  lastPlace(view: string): string;
  /** Where whoever looks was before. */
  readonly cameFrom: Place | null;
  /** Tells readers of the screen; a later text replaces an earlier one that was not told yet. */
  say(text: string): void;
  /** Shows what came of an action for some seconds, and says it. */
  tell(text: string): void;
  /** Renders the head again: a view's own state has changed. */
  refresh(): void;
}

/** A view while it is open. */
export interface View {
  readonly keys: readonly Key[];
  /** Shows a place of this view; called for the first, and for each that follows without leaving the view. */
  show(place: Place): void;
  /** Ends all that it began. */
  close(): void;
}

/** What a view's file exports as `openView`. */
export type OpenView = (app: App, host: HTMLElement) => View;
