// The choice of a machine, where several share one list of sessions.

import { el, field } from "../dom.js";
import { machineWords } from "../names.js";

/** @typedef {{node: HTMLElement, chosen: () => string}} MachineChoice */

/**
 * A choice that begins with the machine that this page is connected to. On a server that has all sessions for itself it stays
 * hidden, and `chosen` returns "".
 * @param {Client} client @param {() => void} changed called when another machine is chosen @returns {MachineChoice}
 */
export function machineChoice(client, changed) {
	const select = el("select", { onchange: changed });
	const node = el("div", { hidden: true }, field("Machine", select));
	const fill = (/** @type {Machine[]} */ machines) => {
		if (machines.length < 2) return;
		select.replaceChildren(
			...machines.map((one) =>
				el(
					"option",
					{ value: one.id, selected: one.state === "here", disabled: one.state === "away" },
					machineWords(one),
				),
			),
		);
		node.hidden = false;
	};
	// Without the list, a session is made where this page is connected.
	client.api.json("/api/nodes").then(
		({ nodes }) => fill(nodes),
		() => {},
	);
	return { node, chosen: () => select.value };
}

/** The parameter of an address that names a machine. @param {string} machine @returns {Record<string, string>} */
export function atMachine(machine) {
	return machine ? { node: machine } : {};
}
