// Several instances and one limit, minutes long under an event clock: how much of it is used, who gets it, and what
// happens when the store, or an instance, is gone.

import t from 'tap';
import { createDice, type Dice } from '../../helpers/dice.ts';
import { startRedis, withoutRedis } from '../../helpers/redis-process.ts';
import { median, QuotaSimulation, type SimulatedInstance, type SimulationOptions } from './quota-simulation.ts';

const MINUTE_MS = 60_000;
const CLIENTS = ['x', 'y', 'z'];

t.test('a shared limit', { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t);

  async function simulate(options: Partial<SimulationOptions> = {}): Promise<QuotaSimulation> {
    await redis.command('FLUSHALL');
    const sim = new QuotaSimulation({ redis, perMinute: 300, instances: 3, clients: CLIENTS, ...options });
    t.teardown(() => sim.close());
    return sim;
  }
  const three = ({ instances }: QuotaSimulation) =>
    instances as unknown as [SimulatedInstance, SimulatedInstance, SimulatedInstance];
  const served = (sim: QuotaSimulation, client: string) =>
    sim.instances.flatMap(({ asked }) => asked).filter((one) => one.client === client && one.waitMs !== null).length;

  t.test('is used up, never exceeded, and shared by client over all instances', async (t) => {
    const sim = await simulate();
    const [a, b, c] = three(sim);
    for (const [instance, client] of [
      [a, 'x'],
      [b, 'x'],
      [c, 'z'],
    ] as const)
      instance.keepAsking(client, 60);
    for (let at = 500; at < 2 * MINUTE_MS; at += 3_000) sim.clock.at(at, () => void c.ask('y'));
    await sim.run(2 * MINUTE_MS);
    for (const minute of [0, 1]) {
      const used = sim.platform.between(minute * MINUTE_MS, (minute + 1) * MINUTE_MS);
      t.ok(used >= 294, `${used} in minute ${minute}`);
    }
    t.equal(sim.platform.refused, 0);
    t.ok(sim.storeCalls <= sim.platform.arrivals.length, `${sim.storeCalls} ticks`);
    const [x, y, z] = CLIENTS.map((client) => served(sim, client)) as [number, number, number];
    t.ok(Math.abs(x - z) < 0.1 * z, `${x} calls of x at two instances, ${z} of z at one`);
    t.equal(y, 40, 'all that y asked for');
    const waits = c.waitsOf('y');
    t.ok(median(waits) <= 50, `half of them at once: ${median(waits)} ms`);
    t.ok(Math.max(...waits) <= 3_000, `none later than is promised: ${Math.max(...waits)} ms`);
  });

  t.test('is there for one that is busy alone', async (t) => {
    const sim = await simulate();
    const [a, b] = three(sim);
    a.keepAsking('x', 50);
    for (let at = 0; at < 2 * MINUTE_MS; at += 5_000) sim.clock.at(at, () => void b.ask('z'));
    await sim.run(2 * MINUTE_MS);
    t.ok(sim.platform.between(MINUTE_MS, 2 * MINUTE_MS) >= 294);
    t.equal(sim.platform.refused, 0);
  });

  t.test('costs no wait while it is not used up', async (t) => {
    const sim = await simulate();
    const dice = createDice(1);
    for (let call = 0; call < 270; call += 1)
      sim.clock.at(5_000 + dice.int(1.5 * MINUTE_MS), () => void dice.pick(sim.instances).ask(dice.pick(CLIENTS)));
    await sim.run(2 * MINUTE_MS);
    const waits = sim.instances.flatMap((one) => CLIENTS.flatMap((client) => one.waitsOf(client)));
    const slow = waits.filter((ms) => ms > 0).length / waits.length;
    t.ok(slow <= 0.1, `${(slow * 100).toFixed(1)} % had to ask`);
    t.ok((waits.sort((p, q) => p - q)[Math.floor(waits.length * 0.99)] as number) <= 2, 'and were answered at once');
    const before = sim.storeCalls;
    await sim.run(3 * MINUTE_MS);
    t.equal(sim.storeCalls, before, 'who is idle says nothing');
    t.equal(sim.clock.pending, 0);
  });

  const EVENTS: Record<string, (sim: QuotaSimulation) => void> = {
    'the store is away': (sim) => {
      sim.clock.at(40_000, () => sim.lose());
      sim.clock.at(50_000, () => sim.recover());
    },
    'the store comes back empty': (sim) => {
      sim.clock.at(40_000, () => {
        sim.lose();
        sim.clock.pending += 1;
        void redis.command('FLUSHALL').then(() => {
          sim.clock.pending -= 1;
        });
      });
      sim.clock.at(41_000, () => sim.recover());
    },
    'the store is emptied, and no connection ends': (sim) =>
      sim.clock.at(40_000, () => {
        sim.clock.pending += 1;
        void redis.command('FLUSHALL').then(() => {
          sim.clock.pending -= 1;
        });
      }),
    'the store is frozen': (sim) => {
      sim.clock.at(40_000, () => sim.freeze());
      sim.clock.at(47_000, () => sim.thaw());
      sim.clock.at(48_000, () => sim.recover());
    },
    'an instance is killed': (sim) => {
      sim.clock.at(40_000, () => {
        (sim.instances[0] as SimulatedInstance).isAlive = false;
      });
    },
    'an instance is frozen for a while': (sim) => {
      sim.clock.at(40_000, () => (sim.instances[0] as SimulatedInstance).freeze());
      sim.clock.at(55_000, () => (sim.instances[0] as SimulatedInstance).thaw());
    },
  };
  for (const [event, happen] of Object.entries(EVENTS)) {
    t.test(`is not exceeded when ${event}`, async (t) => {
      const sim = await simulate();
      const [a, b, c] = three(sim);
      for (const [instance, client] of [
        [a, 'x'],
        [b, 'x'],
        [c, 'z'],
      ] as const)
        instance.keepAsking(client, 15);
      happen(sim);
      await sim.run(55_000);
      const now = sim.clock.monotonic();
      t.ok(b.window.isGranted(now) && c.window.isGranted(now), 'it is shared again within five seconds');
      await sim.run(2 * MINUTE_MS);
      t.equal(sim.platform.refused, 0);
      const used = sim.platform.between(0, 2 * MINUTE_MS);
      t.ok(used >= 0.9 * 600, `${used} of 600 used`);
    });
  }

  t.test('that nobody knows is learnt by one, for all', async (t) => {
    const sim = await simulate({ isAuto: true });
    for (const instance of sim.instances) instance.keepAsking('x', 20);
    await sim.run(3 * MINUTE_MS);
    const { refused, arrivals } = sim.platform;
    t.ok(refused <= 40, `${refused} of ${arrivals.length} refused, all of them while it was learnt`);
    const last = sim.platform.refusals.at(-1) as number;
    t.ok(last < MINUTE_MS + 1_000);
    for (const { window } of sim.instances) t.equal(window.perMinute, 300);
    t.ok(sim.platform.between(2 * MINUTE_MS, 3 * MINUTE_MS) >= 290);
  });

  t.test('is hardly exceeded, whatever comes together', async (t) => {
    let sent = 0;
    let refused = 0;
    for (let seed = 0; seed < 4; seed += 1) {
      const dice = createDice(seed);
      const sim = await simulate({
        perMinute: dice.pick([30, 60, 300]),
        instances: 1 + dice.int(5),
        clients: dice.pick([[], CLIENTS]),
        callMs: () => 20 + dice.int(300),
        latencyMs: () => 1 + dice.int(20),
      });
      disturb(sim, dice);
      await sim.run(3 * MINUTE_MS);
      sim.close();
      sent += sim.platform.arrivals.length;
      refused += sim.platform.refused;
    }
    t.ok(sent > 500, `${sent}`);
    t.ok(refused <= 0.005 * sent, `${refused} of ${sent}`);
  });

  /** Clients and trouble of all kinds. */
  function disturb(sim: QuotaSimulation, dice: Dice): void {
    const endMs = 3 * MINUTE_MS;
    for (const instance of sim.instances) {
      const client = dice.pick(CLIENTS);
      const way = dice.pick(['busy', 'busy', 'now and then', 'bursts']);
      if (way === 'busy') sim.clock.at(dice.int(MINUTE_MS), () => instance.keepAsking(client, 1 + dice.int(60)));
      for (let call = way === 'now and then' ? 100 : 0; call > 0; call -= 1)
        sim.clock.at(dice.int(endMs), () => void instance.ask(client, 15_000));
      for (let burst = way === 'bursts' ? 4 : 0; burst > 0; burst -= 1)
        sim.clock.at(dice.int(endMs), () => {
          for (let call = dice.int(300); call > 0; call -= 1) void instance.ask(client, 15_000);
        });
    }
    for (let event = dice.int(4); event > 0; event -= 1) {
      const at = 10_000 + dice.int(endMs - 40_000);
      const untilMs = at + dice.int(20_000);
      const kind = dice.pick(['away', 'frozen', 'killed']);
      if (kind === 'killed')
        sim.clock.at(at, () => {
          dice.pick(sim.instances).isAlive = false;
        });
      sim.clock.at(at, () => (kind === 'away' ? sim.lose() : kind === 'frozen' && sim.freeze()));
      sim.clock.at(untilMs, () => sim.thaw());
      sim.clock.at(untilMs + 1_000, () => sim.recover());
    }
  }
});
