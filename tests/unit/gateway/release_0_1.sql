BEGIN TRANSACTION;
CREATE TABLE job_events (
	job_id VARCHAR(36) NOT NULL, 
	seq INTEGER NOT NULL, 
	account_id VARCHAR(63) NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (job_id, seq)
);
INSERT INTO "job_events" VALUES('0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c21',1,'local','{"seq":1,"time":"2026-02-03T04:05:06.789012Z","step":"generating-3d","state":"running","fraction":0.3333333333333333,"status":"succeeded","progress":0.30000000000000004}');
CREATE TABLE jobs (
	job_id VARCHAR(36) NOT NULL, 
	account_id VARCHAR(63) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	body TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (job_id), 
	UNIQUE (number)
);
INSERT INTO "jobs" VALUES('0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c21','local','succeeded','{"job_id":"0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c21","account_id":"local","options":{"session_id":"80000000-0000-0000-0000-000000000000","object_index":7,"background":{"type":"prompt","prompt":"Küche \"厨房\" \\ 👩‍🍳   ä"},"camera_preset":"cinematic","seed":-9223372036854775808,"on_slab":"fail","output":{"width":256,"height":1920,"duration_s":1.1}},"created_at":"2026-02-03T04:05:06.789012Z","status":"succeeded","steps":[{"step":"cropping","state":"pending","fraction":0.3333333333333333,"started_at":"2026-02-03T04:05:06.789012Z","ended_at":"2026-02-03T04:05:06.789013Z","reused":true,"fingerprint":"a/b@1"},{"step":"removing-bg","state":"running","fraction":0.3333333333333333,"started_at":"2026-02-03T04:05:06.789012Z","ended_at":"2026-02-03T04:05:06.789013Z","reused":true,"fingerprint":"a/b@1"},{"step":"generating-bg","state":"done","fraction":0.3333333333333333,"started_at":"2026-02-03T04:05:06.789012Z","ended_at":"2026-02-03T04:05:06.789013Z","reused":true,"fingerprint":"a/b@1"},{"step":"compositing","state":"failed","fraction":0.3333333333333333,"started_at":"2026-02-03T04:05:06.789012Z","ended_at":"2026-02-03T04:05:06.789013Z","reused":true,"fingerprint":"a/b@1"},{"step":"generating-3d","state":"cancelled","fraction":0.3333333333333333,"started_at":"2026-02-03T04:05:06.789012Z","ended_at":"2026-02-03T04:05:06.789013Z","reused":true,"fingerprint":"a/b@1"},{"step":"rendering-video","state":"done","fraction":0.3333333333333333,"started_at":"2026-02-03T04:05:06.789012Z","ended_at":"2026-02-03T04:05:06.789013Z","reused":true,"fingerprint":"a/b@1"}],"artifacts":{"video":{"sha256":"0000000000000000000000000000000000000000000000000000000000000000","size":1099511627776,"media_type":"image/png"},"glb":{"sha256":"0000000000000000000000000000000000000000000000000000000000000001","size":1099511627776,"media_type":"image/png"},"still":{"sha256":"0000000000000000000000000000000000000000000000000000000000000002","size":1099511627776,"media_type":"image/png"},"cutout":{"sha256":"0000000000000000000000000000000000000000000000000000000000000003","size":1099511627776,"media_type":"image/png"},"alpha_video":{"sha256":"0000000000000000000000000000000000000000000000000000000000000004","size":1099511627776,"media_type":"image/png"}},"mesh":{"thin_axis_ratio":0.30000000000000004,"verdict":"slab","watertight":false,"triangles":2147483647,"method":"lathe","engine":"e","front_yaw_degrees":-179.99999999999997},"camera":{"preset":"dolly","arc_degrees":1e-300,"clamped":true},"crop":{"x1":0.1,"y1":0.2,"x2":0.30000000000000004,"y2":1.0},"scene_note":"a note","error":null,"started_at":"2026-02-03T04:05:06.789012Z","ended_at":"2026-02-04T04:05:06.789012Z"}',1,'2026-02-03 04:05:06.789012');
INSERT INTO "jobs" VALUES('0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c22','local','queued','{"job_id":"0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c22","account_id":"local","options":{"session_id":"00000000-0000-0000-0000-000000000001","object_index":0,"background":{"type":"transparent"},"camera_preset":"turntable","seed":0,"on_slab":"clamp","output":{"width":1280,"height":720,"duration_s":5.0}},"created_at":"2026-02-03T04:05:06.789012Z","status":"queued","steps":[{"step":"cropping","state":"pending","fraction":0.0,"started_at":null,"ended_at":null,"reused":false,"fingerprint":""},{"step":"removing-bg","state":"pending","fraction":0.0,"started_at":null,"ended_at":null,"reused":false,"fingerprint":""},{"step":"generating-bg","state":"pending","fraction":0.0,"started_at":null,"ended_at":null,"reused":false,"fingerprint":""},{"step":"compositing","state":"pending","fraction":0.0,"started_at":null,"ended_at":null,"reused":false,"fingerprint":""},{"step":"generating-3d","state":"pending","fraction":0.0,"started_at":null,"ended_at":null,"reused":false,"fingerprint":""},{"step":"rendering-video","state":"pending","fraction":0.0,"started_at":null,"ended_at":null,"reused":false,"fingerprint":""}],"artifacts":{},"mesh":null,"camera":null,"crop":null,"scene_note":"","error":null,"started_at":null,"ended_at":null}',2,'2026-02-03 04:05:06.789012');
CREATE TABLE sessions (
	session_id VARCHAR(36) NOT NULL, 
	account_id VARCHAR(63) NOT NULL, 
	body TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	PRIMARY KEY (session_id)
);
INSERT INTO "sessions" VALUES('80000000-0000-0000-0000-000000000000','local','{"session_id":"80000000-0000-0000-0000-000000000000","account_id":"local","photo":{"sha256":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","size":1099511627776,"media_type":"image/png"},"photo_width":4096,"photo_height":1,"objects":[{"index":0,"label":"cup","category":"product","box":{"x1":0.1,"y1":0.2,"x2":0.9,"y2":1.0},"score":0.5},{"index":1,"label":"entire image (no crop)","category":"full_frame","box":{"x1":0.0,"y1":0.0,"x2":1.0,"y2":1.0},"score":1.0}],"detect_elapsed_ms":412,"created_at":"2026-02-03T04:05:06.789012Z","expires_at":"2026-02-04T04:05:06.789012Z"}','2026-02-03 04:05:06.789012','2026-02-04 04:05:06.789012');
CREATE TABLE stage_results (
	account_id VARCHAR(63) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	fingerprint VARCHAR(255) NOT NULL, 
	result BLOB NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (account_id, digest)
);
INSERT INTO "stage_results" VALUES('local','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','a/b@1',X'00726573756C74','2026-11-23 04:07:04.972797');
CREATE INDEX jobs_by_account ON jobs (account_id, number);
CREATE INDEX jobs_by_status ON jobs (status);
COMMIT;
