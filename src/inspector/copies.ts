// All forms in which a call can be copied, by name. Pure: the page and the terminal ask it.

import { type CopiedCall, copyAs, SHELL_FORMS, type ShellForm } from './copy-as.ts';
import { copyAsSdk, SDK_FORMS, type SdkForm } from './copy-sdk.ts';
import type { CallAnswer } from './wire.ts';

/** Their names on a command line, and for people. */
export const COPY_FORMS: ReadonlyMap<string, string> = new Map([...SHELL_FORMS, ...SDK_FORMS]);

const SDK: ReadonlySet<string> = new Set(SDK_FORMS.map(([form]) => form));

/** A call in a form of that name; null where it cannot be written so: it is no operation that is known. */
export function copyOf(form: string, { call, captured, copy }: Omit<CallAnswer, 'instance'>): string | null {
  const copied = copiedCall(call, captured);
  if (!SDK.has(form)) return copyAs(form as ShellForm, copied, copy);
  return copy.operation && copyAsSdk(form as SdkForm, { ...copied, client: call.client }, copy, copy.operation);
}

function copiedCall(call: CallAnswer['call'], captured: CallAnswer['captured']): CopiedCall {
  const { method, path, credential, requestBytes } = call;
  const isWhole = captured?.isRequestBodyWhole === true;
  return {
    method,
    path,
    credential,
    headers: captured?.requestHeaders ?? [],
    body: isWhole ? (captured.requestBody ?? null) : null,
    isBodyMissing: requestBytes > 0 && !isWhole,
  };
}
