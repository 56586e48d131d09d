// What the modules hand to each other. Only for the type checker, which knows these names everywhere; it is not served.

/** Any frame of the server. Beyond these three a frame has what its type says (docs/clients.md). */
interface Frame {
	type: string;
	content: string;
	timestamp: string;
	[name: string]: any;
}

/** A place in a session's journal. */
interface Position {
	epoch: number;
	seq: number;
}

interface FileShown {
	filename: string;
	mime_type?: string;
	size?: number;
	url?: string;
}

/** `place` orders the entries (timeline.js); `seq` is the entry's row of the journal. */
interface UserEntry {
	kind: "user";
	key: string;
	seq: number;
	place: number;
	messageId: string;
	turn: string | null;
	text: string;
	at: string;
	device: string | null;
	files: FileShown[];
	state: string;
	/** When a message for later runs. */
	later: string | null;
}

interface Tool {
	kind: "tool";
	id: string;
	name: string;
	input: any;
	at: string;
	parent: string | null;
	/** The calls of the sub-agent that this call began. */
	inner: Tool[];
	inputBlob?: string;
	/** The newest part of what it has printed while it runs. */
	printed?: string;
	output?: string;
	outputBlob?: string;
	/** Pictures in the call's output. */
	pictures?: { mime_type: string; size: number; url: string }[];
	isError?: boolean;
	ms?: number;
	diff?: FileDiff[];
	/** Whether a person was asked about it, and what was decided. */
	asked?: boolean;
	line?: Line;
}

/** `points`: the length of `text` in code points, which is what offsets count. */
interface Block {
	kind: "text" | "thinking";
	id: string;
	text: string;
	points: number;
	/** How many times its end was replaced instead of continued. */
	cuts: number;
}

type Part = Block | Tool | Line;

interface Ending {
	content: string;
	code: string;
	by: string | null;
	at: string;
	usage: { input_tokens?: number; output_tokens?: number; cost_usd?: number };
	resetsAt: string;
	/** What helps: some of `compact`, `renew`, `fork`. */
	ways: string[];
}

/** `parts` has everything in the order in which it came. `blocks` and `tools` contain some of the same objects. */
interface AnswerEntry {
	kind: "answer";
	key: string;
	seq: number;
	place: number;
	turn: string;
	at: string;
	parts: Part[];
	blocks: Block[];
	tools: Tool[];
	status: "running" | "complete" | "error" | "interrupted";
	end: Ending | null;
	/** A temporary state: the agent tries again. */
	passing: string;
	html: string | null;
	cause: string;
	/** How much it changed; null until the server has reported it. */
	changed: { files: number; added: number; removed: number } | null;
	/** Whether only its text is here: it ended before what came at the attach. */
	past?: boolean;
	/** The undo that took its changes back; "" if none did, or a redo followed. */
	undo: string;
}

/** A decision or a notice: in its turn, or between the messages. */
interface Line {
	kind: "line";
	key: string;
	seq: number;
	place: number;
	turn: string | null;
	tone: string;
	/** "" if this is not a decision. */
	decision: string;
	by: string;
	note: string;
	grant: string;
	text: string;
	at: string;
}

type Entry = UserEntry | AnswerEntry | Line;

/** A file's changes, as the server sends them. */
interface FileDiff {
	path: string;
	old_path?: string | null;
	status?: string;
	added?: number;
	removed?: number;
	patch?: string;
	binary?: boolean;
	truncated?: boolean;
}

interface Task {
	id: string;
	parent: string | null;
	agent: string;
	title: string;
	state: string;
	progress: string;
	result: string | null;
	/** Whether it continues after its turn. */
	background: boolean;
}

interface Question {
	question: string;
	header?: string;
	options: { label: string; description?: string }[];
	multiSelect?: boolean;
}

interface Asked {
	id: string;
	tool: string;
	input: any;
	options: string[];
	questions: Question[] | null;
	/** The call in the log that this is about. */
	call?: Tool;
	kind: string;
	title: string;
	/** What "for this session" would allow, in words. */
	grant: string;
	modes: string[];
	diff: FileDiff[];
	editable: string[];
}

interface Grant {
	grant: string;
	by_device: string | null;
	at?: string;
}

interface PlanEntry {
	content: string;
	status: string;
}

interface Mode {
	id: string;
	kind: string;
	name?: string;
	description?: string;
}

/** What an agent offers: the frame `agent`. */
interface Offer {
	models?: { id: string; name?: string; description?: string; efforts?: string[]; default?: boolean }[];
	modes?: Mode[];
	commands?: { name: string; description?: string; argument_hint?: string }[];
	mcp_servers?: { name: string; status: string; error?: string | null }[];
	applies?: Record<string, string>;
	can?: string[];
}

interface Gauge {
	context?: { used: number; window: number; compacts_at?: number };
	cost_usd?: number;
	limits?: { name: string; used_percent: number; resets_at?: string }[];
}

interface Device {
	device_id: string;
	name: string;
	observe: boolean;
}

/** An entry of the list of sessions. */
interface SessionInfo {
	session_id: string;
	agent_type: string;
	title: string;
	state: string;
	head_seq: number;
	last_activity: string;
	unread?: number;
	pending?: number;
	workspace?: string | null;
	settings?: Record<string, any>;
	plan?: { done: number; total: number } | null;
	pinned?: boolean;
	archived?: boolean;
	held?: any;
	where?: Where | null;
	machine?: Machine | null;
}

/** The machine that a session is on, if several share one list. */
interface Machine {
	id: string;
	name?: string;
	state: "here" | "there" | "away";
}

/** A session that one of the person's own programs keeps. */
interface DeskSession {
	agent: string;
	native_id: string;
	title: string;
	workspace: string;
	first_message: string;
	last_activity: string;
	message_count: number;
	where: Where | null;
	session_id: string | null;
}

/** One of the person's own programs that has a session open. */
interface Where {
	program: string;
	pid: number | null;
	status: "idle" | "busy" | "waiting";
	since: string | null;
}

/** A file that waits to be uploaded, or was. It has bytes instead of a Blob: some browsers store no Blob in their database. */
interface OutFile {
	name: string;
	type: string;
	size: number;
	bytes?: ArrayBuffer;
	url?: string;
}

/** A message that the server has not accepted yet. `n` is its place in the order of writing. */
interface OutMessage {
	n?: number;
	session_id: string;
	agent?: string;
	settings?: Record<string, string | boolean>;
	message_id: string;
	content: string;
	mode: "queue" | "steer";
	not_before?: string;
	files: OutFile[];
	at: string;
	state: "waiting" | "failed";
	reason?: string;
}

interface Views {
	/** The list changed. */
	list: () => void;
	/** The open session changed. */
	session: () => void;
	/** The connection, or this page's lag, changed. */
	status: () => void;
	/** The key is not valid. */
	refused: (code: number) => void;
	/** Show the person a message for a short time. */
	say: (text: string) => void;
	/** The connection is new. The server may have another version of the page; if `differs`, it has one. */
	restarted: (differs: boolean) => void;
}

interface Listener {
	/** Every frame except those of signing in. */
	frame: (frame: Frame) => void;
	/** Signed in, on a new socket, so long after the sign-in was sent. */
	ready: (ready: Frame, askedMs: number) => void;
	/** A frame to send with the one that was just sent. */
	more: () => Record<string, any> | null;
	/** The connection may have become live, or stopped being live. */
	change: () => void;
	/** The key is not valid: the connection does not return by itself. */
	refused: (code: number) => void;
}

interface Way {
	/** Attach to this session. Returns false if that is impossible now. */
	attach: (id: string, message: OutMessage) => Promise<boolean>;
	/** `accepted`, `rejected` or `error`; null if the connection broke. */
	send: (frame: Record<string, any>) => Promise<Frame | null>;
	upload: (blob: Blob, name: string, progress: (part: number) => void) => Promise<{ url: string }>;
	/** Nothing waits for this session any more. */
	delivered: (id: string) => void;
}

/** The actions on an entry. */
interface Acts {
	/** How to name a device. */
	nameOf: (id: string | null) => string;
	agent: () => string;
	workspace: () => string | undefined;
	/** Whether this turn has an answer, even an empty one. */
	hasAnswer: (turn: string | null) => boolean;
	mayDrive: () => boolean;
	takeBack: (messageId: string) => void;
	/** Take a queued message back into the box. */
	editQueued: (entry: UserEntry) => void;
	sendNow: (messageId: string) => void;
	/** Whether this session can be forked, and a session from before a message with its text to change. */
	mayFork: () => boolean;
	forkAt: (entry: UserEntry) => void;
	/** Send the messages of a failed turn again. */
	retryTurn: (entry: AnswerEntry) => void;
	resolve: (messageId: string, action: "retry" | "discard") => void;
	retrySending: (message: OutMessage) => void;
	discard: (message: OutMessage) => void;
	going: (message: OutMessage) => string;
	/** Whether what waits outlives the page. */
	waits: () => string;
	keeps: () => boolean;
	save: (url: string, name: string) => void;
	/** The bytes of a file of this server. */
	fetch: (url: string) => Promise<Blob>;
	copy: (text: string) => void;
	/** Additional content below a finished answer. */
	more: (entry: AnswerEntry) => HTMLElement[];
	/** Load a part of the page and use it for this session. */
	open: <T>(part: () => Promise<T>, use: (part: T, session: OpenSession) => void) => void;
	/** Draw an entry again. */
	redraw: (key: string) => void;
	say: (text: string) => void;
}

interface ListActs {
	create: () => void;
	search: (query: string) => Promise<Hit[]>;
	/** Draw what a session needs from the person, below its row. */
	needs: (at: HTMLElement, one: SessionInfo, open: boolean) => void;
	organize: (id: string, what: { pinned?: boolean; archived?: boolean }) => void;
	/** The filters changed. */
	redraw: (archived: boolean) => void;
}

/** What `Create` asked for. */
interface Making {
	agent?: string;
	settings?: Record<string, string | boolean>;
}

interface Hit {
	session_id: string;
	seq: number;
	role: string;
	snippet: string;
	timestamp: string;
}

type Api = import("./api").Api;
type Client = import("./client").Client;
type Journal = import("./journal").Journal;
type OpenSession = import("./session").OpenSession;
type Store = import("./store").Store;
