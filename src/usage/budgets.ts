// What clients may spend of a month: how far each has come, a record when one comes near its budget or has used it, and
// the refusal of what goes beyond it, where the client's configuration says so.

import type { Clock } from '../clock.ts';
import type { ClientConfig } from '../config/gateway-config.ts';
import { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { Log } from '../logging/log.ts';
import type { UsageLedger } from './usage-ledger.ts';

/** A budget in use. `near`: 80 % and more. */
export interface BudgetState {
  readonly used: number;
  readonly limit: number;
  readonly level: 'within' | 'near' | 'over';
}

/** A client as its budget sees it. */
export type BudgetedClient = Pick<ClientConfig, 'name' | 'requestsPerMonth' | 'overBudget'>;

const NEAR = 0.8;
const SEVERITY = { within: 0, near: 1, over: 2 } as const;

/** A client that made calls under a budget. */
interface Account {
  limit: number;
  /** Calls that have their place in the budget and were not sent yet: the ledger does not have them. */
  reserved: number;
  month: string;
  /** What the log was told last in this month. */
  told: BudgetState['level'];
}

/** The budgets of all clients. */
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
   * Reserves the place of a call in its client's budget until it is sent, or given up (`release`). Throws
   * `gateway.budget.exceeded` where there is none and calls beyond the budget are refused.
   */
  reserve({ name, requestsPerMonth: limit, overBudget }: BudgetedClient, record: ExchangeRecord): void {
    if (limit === null) return;
    const account = this.#account(name, limit);
    if (overBudget === 'refuse' && this.#ledger.total(name, this.#clock.now()) + account.reserved >= limit) {
      throw new GatewayError(
        'gateway.budget.exceeded',
        `client ${name} has used its budget of ${limit} requests for ${account.month}: the next month (UTC) begins ` +
          'with a new one, and client.requests_per_month sets it',
      );
    }
    account.reserved += 1;
    record.holdsBudget = true;
  }

  /** Gives a reserved place back. Safe to repeat. */
  release(record: ExchangeRecord): void {
    if (!record.holdsBudget) return;
    record.holdsBudget = false;
    const account = this.#accounts.get(record.client ?? '');
    if (account !== undefined && account.reserved > 0) account.reserved -= 1;
  }

  /**
   * Called when a request of a call was sent and counted: tells the log, once a month, that its client has come near
   * its budget, and that it has used it.
   */
  sent(record: ExchangeRecord): void {
    this.release(record);
    const { client } = record;
    const known = client === null ? undefined : this.#accounts.get(client);
    if (client === null || known === undefined) return;
    const account = this.#account(client, known.limit);
    const { used, limit, level } = this.state(client, account.limit);
    const isWorse = SEVERITY[level] > SEVERITY[account.told];
    account.told = level;
    if (!isWorse) return;
    const fields = { client, month: account.month, used, limit };
    if (level === 'over') this.#log.warn(fields, 'client has used its budget of requests for this month');
    else this.#log.warn(fields, 'client has used 80 % of its budget of requests for this month');
  }

  /** Forgets clients that have no budget any more. */
  keep(clients: readonly BudgetedClient[]): void {
    const names = new Set(clients.filter((one) => one.requestsPerMonth !== null).map(({ name }) => name));
    for (const name of this.#accounts.keys()) if (!names.has(name)) this.#accounts.delete(name);
  }

  #account(client: string, limit: number): Account {
    const month = this.#ledger.monthAt(this.#clock.now());
    let account = this.#accounts.get(client);
    if (account === undefined) {
      account = { limit, reserved: 0, month, told: 'within' };
      this.#accounts.set(client, account);
    }
    account.limit = limit;
    if (account.month !== month) {
      account.month = month;
      account.told = 'within';
    }
    return account;
  }
}
