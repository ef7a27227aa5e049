// What clients may spend of a month: how far each has come, and a record when one comes near its budget or has used it.
// It refuses nothing: whoever serves a call asks.

import type { Clock } from '../clock.ts';
import type { Log } from '../logging/log.ts';
import type { UsageLedger } from './usage-ledger.ts';

/** A budget in use. `near`: 80 % and more. */
export interface BudgetState {
  readonly used: number;
  readonly limit: number;
  readonly level: 'within' | 'near' | 'over';
}

const NEAR = 0.8;
const SEVERITY = { within: 0, near: 1, over: 2 } as const;

/** A client as its budget sees it. */
interface Account {
  /** Calls that were let in and are not counted yet. */
  running: number;
  month: string;
  /** What the log was told last in this month. */
  told: BudgetState['level'];
}

export class Budgets {
  readonly #ledger: UsageLedger;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #accounts = new Map<string, Account>();

  constructor({ ledger, clock, log }: { ledger: UsageLedger; clock: Clock; log: Log }) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#log = log;
  }

  /** How far a client has come this month. */
  state(client: string, limit: number): BudgetState {
    const used = this.#ledger.total(client, this.#clock.now());
    return { used, limit, level: used >= limit ? 'over' : used >= limit * NEAR ? 'near' : 'within' };
  }

  /**
   * Whether the budget has room for one more call, beside those that run. Each call that enters is counted in the ledger
   * and then leaves; one that enters over budget, too.
   */
  enter(client: string, limit: number): boolean {
    const account = this.#account(client);
    const hasRoom = this.#ledger.total(client, this.#clock.now()) + account.running < limit;
    account.running += 1;
    return hasRoom;
  }

  /** Ends what `enter` began, and tells the log once a month when a client comes near its limit, and when it is over. */
  leave(client: string, limit: number): void {
    const account = this.#account(client);
    account.running -= 1;
    const { used, level } = this.state(client, limit);
    const isWorse = SEVERITY[level] > SEVERITY[account.told];
    account.told = level;
    if (!isWorse) return;
    const fields = { client, month: account.month, used, limit };
    if (level === 'over') this.#log.warn(fields, 'client has used its budget of requests for this month');
    else this.#log.warn(fields, 'client has used 80 % of its budget of requests for this month');
  }

  /** Forgets clients that are configured no more. */
  keep(clients: ReadonlySet<string>): void {
    for (const [client, { running }] of this.#accounts)
      if (running === 0 && !clients.has(client)) this.#accounts.delete(client);
  }

  #account(client: string): Account {
    const month = this.#ledger.monthAt(this.#clock.now());
    let account = this.#accounts.get(client);
    if (account === undefined) {
      account = { running: 0, month, told: 'within' };
      this.#accounts.set(client, account);
    }
    if (account.month !== month) Object.assign(account, { month, told: 'within' });
    return account;
  }
}
