// A table of numbers that can be sorted by any of its columns; the order is in the address.

import { html, nothing } from 'lit-html';

/** A column. `by` is what it is sorted by; without it, it is not. */
export interface DataColumn<T> {
  readonly id: string;
  readonly title: string;
  readonly isRight?: boolean;
  readonly by?: (row: T) => number | string;
  readonly cell: (row: T) => unknown;
}

/** What is shown, in which order. */
export interface DataTable<T> {
  readonly label: string;
  readonly columns: readonly DataColumn<T>[];
  readonly rows: readonly T[];
  /** The column that it is sorted by: numbers from the largest, texts from A. */
  readonly sort: string;
  readonly onSort: (id: string) => void;
}

/** The first column heads its row. */
export function dataTable<T>({ label, columns, rows, sort, onSort }: DataTable<T>) {
  const by = columns.find(({ id }) => id === sort)?.by;
  const sorted = by === undefined ? rows : rows.toSorted((a, b) => compared(by(a), by(b)));
  return html`<div class="scroll card flat" role="region" tabindex="0" aria-label=${label}>
    <table class="data num">
      <thead>
        <tr>
          ${columns.map(
            ({ id, title, isRight, by: isSorted }) =>
              html`<th
                scope="col"
                class=${isRight === true ? 'right' : nothing}
                aria-sort=${id !== sort || isSorted === undefined ? nothing : isRight === true ? 'descending' : 'ascending'}
              >
                ${
                  isSorted === undefined
                    ? title
                    : html`<button class="button plain sort" @click=${() => onSort(id)}>
                        ${title}${id === sort ? html`<span aria-hidden="true"> ▾</span>` : nothing}
                      </button>`
                }
              </th>`,
          )}
        </tr>
      </thead>
      <tbody>
        ${sorted.map(
          (row) =>
            html`<tr>
              ${columns.map(({ cell, isRight }, at) =>
                at === 0
                  ? html`<th scope="row">${cell(row)}</th>`
                  : html`<td class=${isRight === true ? 'right' : nothing}>${cell(row)}</td>`,
              )}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function compared(a: number | string, b: number | string): number {
  if (typeof a === 'number' && typeof b === 'number') return b - a;
  return String(a).localeCompare(String(b), 'en');
}
